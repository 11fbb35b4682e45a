/**
 * The tensors that models are made of: what GGUF and Hugging Face call each, and
 * what its sides are. Whatever goes over a model's tensors goes by this table:
 * checks of a header, shards, small models of self-checks, synthesis, conversion.
 */

/**
 * A side of a tensor. Sides of heads (`heads`, `q`, `kv`), neurons (`ffn`,
 * `expert`), outputs of experts and tokens (`vocab`) may be cut between places;
 * all others are whole everywhere.
 *
 * `q` has headCount · headSize elements, `kv` kvHeadCount · headSize, `rank` as
 * many as a layer's predictor likes, `frequencies` one for each rotated pair.
 * `qNorm` and `kNorm` are of what is normed together: headSize, or `q` and `kv`.
 *
 * `ffn` are the neurons of all `experts`, one expert's behind another's, and
 * `expert` those of one; an FFN without a router is one expert. `outputs` are
 * the hidden elements that each makes of its own.
 */
export type Dimension =
  | "hidden"
  | "heads"
  | "q"
  | "kv"
  | "qNorm"
  | "kNorm"
  | "experts"
  | "ffn"
  | "expert"
  | "outputs"
  | "vocab"
  | "rank"
  | "frequencies";

/** What is known of a tensor. */
export interface TensorSchema {
  /** Columns and rows; a vector has no rows, and is F32 */
  readonly shape: readonly [columns: Dimension, rows?: Dimension];
  /** Not in every model: architectures say which of these they need or take */
  readonly optional?: true;
  /** Whether its rows (or elements) are of heads that are rotated */
  readonly rotated?: true;
  /** Held whole by every place, though its side is cut elsewhere */
  readonly whole?: true;
  /** A vector that may come with a bias, as matrices of a {@linkcode hub} name may */
  readonly biased?: true;
  /** Each expert has rows of its own, where there are experts: files call it `_exps` then, and give it one more side */
  readonly perExpert?: true;
  /** Hugging Face's name, without `model.layers.N.` and `.weight` or `.bias` */
  readonly hub?: string;
}

/**
 * The weights of one layer in llama.cpp's order, called what GGUF calls them
 * without `blk.N.` and `.weight`.
 */
export const layerWeights = {
  attn_norm: {
    shape: ["hidden"],
    optional: true,
    biased: true,
    hub: "input_layernorm",
  },
  attn_q: { shape: ["hidden", "q"], rotated: true, hub: "self_attn.q_proj" },
  attn_k: { shape: ["hidden", "kv"], rotated: true, hub: "self_attn.k_proj" },
  attn_v: { shape: ["hidden", "kv"], hub: "self_attn.v_proj" },
  // Of queries and keys before they turn.
  attn_q_norm: {
    shape: ["qNorm"],
    rotated: true,
    optional: true,
    hub: "self_attn.q_norm",
  },
  attn_k_norm: {
    shape: ["kNorm"],
    rotated: true,
    optional: true,
    hub: "self_attn.k_norm",
  },
  // Of what all heads computed, before `attn_output`.
  attn_sub_norm: {
    shape: ["q"],
    whole: true,
    optional: true,
    hub: "self_attn.inner_attn_ln",
  },
  attn_output: { shape: ["q", "hidden"], hub: "self_attn.o_proj" },
  // One more score for each head, whose share of the attention is lost.
  attn_sinks: { shape: ["heads"], optional: true },
  // Of what a layer's halves add to the residual.
  post_attention_norm: { shape: ["hidden"], optional: true },
  ffn_norm: {
    shape: ["hidden"],
    optional: true,
    biased: true,
    hub: "post_attention_layernorm",
  },
  // The router: a score for each expert.
  ffn_gate_inp: {
    shape: ["hidden", "experts"],
    optional: true,
    hub: "mlp.gate",
  },
  ffn_gate: {
    shape: ["hidden", "ffn"],
    optional: true,
    perExpert: true,
    hub: "mlp.gate_proj",
  },
  ffn_up: { shape: ["hidden", "ffn"], perExpert: true, hub: "mlp.up_proj" },
  // Of all neurons' values, before down.
  ffn_sub_norm: {
    shape: ["ffn"],
    whole: true,
    optional: true,
    hub: "mlp.ffn_layernorm",
  },
  // A row for each output, or in PowerInfer's files for each neuron.
  ffn_down: {
    shape: ["expert", "outputs"],
    optional: true,
    perExpert: true,
    hub: "mlp.down_proj",
  },
  ffn_down_t: { shape: ["hidden", "ffn"], optional: true, perExpert: true },
  post_ffw_norm: {
    shape: ["hidden"],
    optional: true,
    hub: "post_feedforward_layernorm",
  },
  // The predictor; its rank may differ from layer to layer.
  fc1: { shape: ["hidden", "rank"], optional: true, perExpert: true },
  fc2: { shape: ["rank", "ffn"], optional: true, perExpert: true },
} as const satisfies Readonly<Record<string, TensorSchema>>;

/** What may have a bias, a number for each row of a matrix or element of a norm: GGUF's `x.bias` is `x_bias` here. */
export type BiasedName = {
  [N in keyof typeof layerWeights]: (typeof layerWeights)[N] extends
    | { shape: readonly [Dimension, Dimension]; hub: string }
    | { biased: true } ? N
    : never;
}[keyof typeof layerWeights];

/** The tensors around the layers: the embedding before them, all others behind. */
export const outerTensors = {
  token_embd: { shape: ["hidden", "vocab"], hub: "model.embed_tokens" },
  // Divisors of the rotation's frequencies; the other two of longrope.
  rope_freqs: { shape: ["frequencies"], optional: true },
  rope_factors_long: { shape: ["frequencies"], optional: true },
  rope_factors_short: { shape: ["frequencies"], optional: true },
  output_norm: { shape: ["hidden"], hub: "model.norm" },
  output_norm_bias: { shape: ["hidden"], optional: true, hub: "model.norm" },
  // The embedding where the two are tied.
  output: { shape: ["hidden", "vocab"], optional: true, hub: "lm_head" },
} as const satisfies Readonly<Record<string, TensorSchema>>;

/** A tensor of a layer. */
export type LayerTensorName = keyof typeof layerWeights | `${BiasedName}_bias`;
/** A tensor around the layers. */
export type OuterTensorName = keyof typeof outerTensors;
/** Any tensor. */
export type TensorName = LayerTensorName | OuterTensorName;

/** What is known of each tensor of a layer, by name. */
export const layerTensors = Object.fromEntries(
  Object.entries<TensorSchema>(layerWeights).flatMap(([name, schema]) => {
    const { shape: [columns, rows], rotated, biased, perExpert, hub } = schema;
    if (!biased && !(rows && hub)) return [[name, schema]];
    const shape = [rows ?? columns];
    const bias = { shape, rotated, optional: true, perExpert, hub };
    return [[name, schema], [`${name}_bias`, bias]];
  }),
) as Readonly<Record<LayerTensorName, TensorSchema>>;

/** What is known of each tensor, by name. */
export const tensorSchemas: Readonly<Record<TensorName, TensorSchema>> = {
  ...layerTensors,
  ...outerTensors,
};

/** The tensors of a layer that not every model has. */
export type OptionalTensorName =
  | {
    [N in keyof typeof layerWeights]: (typeof layerWeights)[N] extends
      { optional: true } ? N : never;
  }[keyof typeof layerWeights]
  | `${BiasedName}_bias`;

/** Something for each tensor of a layer. */
export type PerLayer<T> =
  & { readonly [N in Exclude<LayerTensorName, OptionalTensorName>]: T }
  & { readonly [N in OptionalTensorName]?: T };

/** Something for each tensor of a model. */
export interface PerTensor<T> {
  /** Of the layers, first to last */
  readonly layers: readonly PerLayer<T>[];
  /** Of the embedding, `[hiddenSize, vocabSize]` */
  readonly token_embd: T;
  /** Of the output head, `[hiddenSize, vocabSize]`; the same object as `token_embd` where the two are tied */
  readonly output: T;
  /** Of the norm before the head, `[hiddenSize]` */
  readonly output_norm: T;
  /** Of its bias */
  readonly output_norm_bias?: T;
  /** Of divisors of the rotation's frequencies, `[ropeSize / 2]` */
  readonly rope_freqs?: T;
  /** Of those that longrope has for contexts longer than the first one */
  readonly rope_factors_long?: T;
  /** Of those that it has for all others */
  readonly rope_factors_short?: T;
}

/** The tensors around the layers, but for the embedding and the head, which may be one. */
const otherOuterNames = [
  "output_norm",
  "output_norm_bias",
  "rope_freqs",
  "rope_factors_long",
  "rope_factors_short",
] as const;

/** Turns what there is for each tensor into something else. */
export function mapTensors<T, U>(
  tensors: PerTensor<T>,
  to: (from: T, name: TensorName, layer?: number) => U,
): PerTensor<U> {
  const { layers, token_embd, output } = tensors;
  const embedding = to(token_embd, "token_embd");
  const others: Partial<Record<OuterTensorName, U>> = {};
  for (const name of otherOuterNames) {
    const from = tensors[name];
    if (from) others[name] = to(from, name);
  }
  return {
    ...others as typeof others & { output_norm: U },
    token_embd: embedding,
    output: output === token_embd ? embedding : to(output, "output"),
    layers: layers.map((tensors, layer) =>
      mapLayer(tensors, (from, name) => to(from, name, layer))
    ),
  };
}

/** The same for one layer. */
export function mapLayer<T, U>(
  tensors: PerLayer<T>,
  to: (from: T, name: LayerTensorName) => U,
): PerLayer<U> {
  return Object.fromEntries(
    layerEntries(tensors).map(([name, from]) => [name, to(from, name)]),
  ) as unknown as PerLayer<U>;
}

/** What there is for each tensor of a layer, with their names. */
export function layerEntries<T>(tensors: PerLayer<T>): [LayerTensorName, T][] {
  const entries = Object.entries(tensors) as [LayerTensorName, T][];
  return entries.filter(([, each]) => each !== undefined);
}

/** What there is for each tensor of a model, each once. */
export function* eachTensor<T>(tensors: PerTensor<T>): Generator<T> {
  const { layers, token_embd, output } = tensors;
  yield token_embd;
  if (output !== token_embd) yield output;
  for (const name of otherOuterNames) {
    const each = tensors[name];
    if (each) yield each;
  }
  for (const [, each] of layers.flatMap(layerEntries)) yield each;
}

/** The names of a layer's tensors, in llama.cpp's order. */
export const layerTensorNames = Object.keys(
  layerTensors,
) as readonly LayerTensorName[];

/** A tensor of a model. */
export interface NamedTensor {
  readonly name: TensorName;
  /** Which layer's; `undefined` around the layers */
  readonly layer?: number;
}

/** Sorts tensors as llama.cpp orders them. */
export function compareTensors(a: NamedTensor, b: NamedTensor): number {
  const layerOf = ({ name, layer }: NamedTensor) =>
    layer ?? (name === "token_embd" ? -1 : Infinity);
  const [layerA, layerB] = [layerOf(a), layerOf(b)];
  if (layerA !== layerB) return layerA - layerB;
  return order.indexOf(a.name) - order.indexOf(b.name);
}

const order = Object.keys(tensorSchemas);

/** Every tensor that a model of so many layers may have, in llama.cpp's order. */
export function allTensorNames(layerCount: number): NamedTensor[] {
  const [first, ...last] = Object.keys(outerTensors) as OuterTensorName[];
  const layers = Array.from(
    { length: layerCount },
    (_, layer) => layerTensorNames.map((name) => ({ name, layer })),
  );
  return [{ name: first }, ...layers.flat(), ...last.map((name) => ({ name }))];
}

/** Lengths of sides, in elements. */
export type SideLengths<L = number> = Readonly<Record<Dimension, L>>;

/** What decides the lengths of most sides. */
export interface Sizes {
  readonly hiddenSize: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headSize: number;
  /** Of all experts together */
  readonly feedForwardSize: number;
  /** 1 where left out: no router */
  readonly expertCount?: number;
  readonly ropeSize: number;
  /** Whether queries and keys are normed head by head, or as a whole */
  readonly qkNorm?: "head" | "whole";
}

/** The lengths of a model's sides; its vocabulary and the ranks of predictors stand in tensors alone. */
export function sideLengths(
  sizes: Sizes,
): Omit<SideLengths, "vocab" | "rank"> {
  const q = sizes.headCount * sizes.headSize;
  const kv = sizes.kvHeadCount * sizes.headSize;
  const isWhole = sizes.qkNorm === "whole";
  const { expertCount = 1 } = sizes;
  return {
    hidden: sizes.hiddenSize,
    heads: sizes.headCount,
    q,
    kv,
    qNorm: isWhole ? q : sizes.headSize,
    kNorm: isWhole ? kv : sizes.headSize,
    experts: expertCount,
    ffn: sizes.feedForwardSize,
    expert: sizes.feedForwardSize / expertCount,
    outputs: sizes.hiddenSize * expertCount,
    frequencies: sizes.ropeSize / 2,
  };
}

/** The shape of a tensor. */
export function shapeOf<L>(name: TensorName, lengths: SideLengths<L>): L[] {
  return tensorSchemas[name].shape.map((side) => lengths[side!]);
}

/** A name without `_bias`, and what files put behind it. */
function stemOf(name: TensorName): [stem: string, kind: "weight" | "bias"] {
  const stem = name.replace(/_bias$/, "");
  return [stem, stem === name ? "weight" : "bias"];
}

/** GGUF's name of a tensor; of a layer with experts, where it has some. */
export function ggufName(
  name: TensorName,
  layer?: number,
  hasExperts = false,
): string {
  const [stem, kind] = stemOf(name);
  const { perExpert } = tensorSchemas[name];
  const own = `${stem}${hasExperts && perExpert ? "_exps" : ""}.${kind}`;
  return layer === undefined ? own : `blk.${layer}.${own}`;
}

/** Hugging Face's name of a tensor, where it has one. */
export function hubName({ name, layer }: NamedTensor): string | undefined {
  const { hub } = tensorSchemas[name];
  const own = hub && `${hub}.${stemOf(name)[1]}`;
  return layer === undefined ? own : own && `model.layers.${layer}.${own}`;
}

/** Which tensor GGUF calls so; `undefined` for one that is in no table. */
export function tensorOfGguf(gguf: string): NamedTensor | undefined {
  const [, block, stem, kind] =
    gguf.match(/^(?:blk\.(0|[1-9]\d*)\.)?(\w+)\.(weight|bias)$/) ?? [];
  const shared = stem?.replace(/_exps$/, "");
  const own = kind === "bias" ? `${shared}_bias` : shared;
  const table = block === undefined ? outerTensors : layerTensors;
  if (own === undefined || !Object.hasOwn(table, own)) return undefined;
  const name = own as TensorName;
  if (shared !== stem && !tensorSchemas[name].perExpert) return undefined;
  return block === undefined ? { name } : { name, layer: Number(block) };
}
