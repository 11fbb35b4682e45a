/**
 * Hugging Face's names of a Llama-like model's tensors, and GGUF's.
 *
 * @module
 */

/** What is done to a tensor on its way. */
export interface NamedTensor {
  /** GGUF's name */
  readonly name: string;
  /** Whether its rows are permuted, and for which heads */
  readonly heads?: "query" | "key";
}

const ofModel: Readonly<Record<string, string>> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};

const ofLayer: Readonly<Record<string, string>> = {
  "input_layernorm": "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "post_attention_layernorm": "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

const heads: Readonly<Record<string, NamedTensor["heads"]>> = {
  attn_q: "query",
  attn_k: "key",
};

/** A buffer that old checkpoints carry, which follows from the config. */
const derived = /\.rotary_emb\.inv_freq$/;

/** Parts of a layer, and of the model around the layers, in llama.cpp's order. */
const order = [
  "token_embd",
  ...Object.values(ofLayer),
  "output_norm",
  "output",
];

/**
 * What becomes of a tensor: `undefined` for one that no such model has, `null`
 * for one that is left out.
 */
export function ggufTensor(name: string): NamedTensor | null | undefined {
  if (derived.test(name)) return null;
  if (Object.hasOwn(ofModel, name)) return { name: ofModel[name] };
  const [, layer, part] =
    name.match(/^model\.layers\.(0|[1-9]\d*)\.(.+)\.weight$/) ?? [];
  if (part === undefined || !Object.hasOwn(ofLayer, part)) return undefined;
  const gguf = ofLayer[part];
  return { name: `blk.${layer}.${gguf}.weight`, heads: heads[gguf] };
}

const toHuggingFace: ReadonlyMap<string, string> = new Map(
  [...Object.entries(ofModel), ...Object.entries(ofLayer)]
    .map(([name, gguf]) => [gguf, name]),
);

/** Hugging Face's name of one of GGUF's tensors that {@linkcode ggufTensor} names. */
export function huggingFaceName(gguf: string): string {
  const [, layer, part] = gguf.match(/^blk\.(\d+)\.(\w+)\.weight$/) ?? [];
  return part === undefined
    ? toHuggingFace.get(gguf)!
    : `model.layers.${layer}.${toHuggingFace.get(part)}.weight`;
}

/** Sorts GGUF's names as llama.cpp orders them: embedding, layers, head. */
export function compareNames(a: string, b: string): number {
  const keyOf = (name: string): [number, number] => {
    const [, layer, part] = name.match(/^(?:blk\.(\d+)\.)?(\w+)/) ?? [];
    const place = order.indexOf(part ?? name);
    if (layer !== undefined) return [Number(layer), place];
    return [part === "token_embd" ? -1 : Infinity, place];
  };
  const [layerA, placeA] = keyOf(a), [layerB, placeB] = keyOf(b);
  return layerA === layerB ? placeA - placeB : layerA - layerB;
}
