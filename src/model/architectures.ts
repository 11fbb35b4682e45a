/**
 * The architectures that culm runs: all are blocks of attention and an FFN, and
 * differ by what stands here. Mistral's first files say `llama`.
 */
import { UnsupportedError } from "../errors.ts";
import type { TensorInfo } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { type ActivationChoice, isFatRelu } from "./activation.ts";
import { type Routing, scoringOf } from "./experts.ts";
import type { HyperParameterReader } from "./hyper_parameters.ts";
import type { Rope, Rotation } from "./rope.ts";
import type {
  OptionalTensorName,
  OuterTensorName,
  PerLayer,
  TensorName,
} from "./schema.ts";
import type { Traits } from "./traits.ts";

/** What distinguishes one architecture from another. */
export interface Architecture {
  /** Tensors that it has, beside those that are in every model; none where left out */
  readonly needs: readonly (OptionalTensorName | OuterTensorName)[];
  /** Tensors that it may have */
  readonly takes: readonly (OptionalTensorName | OuterTensorName)[];
  /** Which elements of a head turn together */
  readonly rope: Rope;
  /** Whether queries and keys are normed head by head, or as a whole */
  readonly qkNorm?: Traits["qkNorm"];
  /** Gate and up are one tensor, `ffn_up` */
  readonly fusesGate?: true;
  /** What GGUF calls otherwise than the schema does: its name, and the schema's */
  readonly names?: Readonly<Record<string, TensorName>>;
  /** How Hugging Face's checkpoints differ from what the schema says */
  readonly hub?: HubForm;
  /** The activation that a file of this magic, these tensors and this `hidden_activation` means. */
  activation(
    magic: "GGUF" | "PWRI",
    layer: Partial<PerLayer<TensorInfo>>,
    stated?: string,
  ): ActivationChoice;
  /** How tokens choose among experts: only an architecture that says so may have them, and must where it needs `ffn_gate_inp`. */
  routing?(keys: HyperParameterReader): ArchitectureRouting;
  /** Whether there is an expert beside them that every token passes through, with a gate of its own */
  readonly sharesExpert?: true;
  /** The traits that are not what {@linkcode plainTraits} says. */
  traits?(header: Header): Partial<Traits>;
}

/** What of its routing an architecture decides. */
type ArchitectureRouting = Pick<
  Routing,
  "scoring" | "isNormalised" | "readsLayerInput"
>;

/** What a checkpoint of Hugging Face's has otherwise than its GGUF file. */
export interface HubForm {
  /** Which tensor is meant by a name, without `model.layers.N.` and `.weight`, where that is another one or has another name */
  readonly names?: Readonly<Record<string, TensorName | "attn_qkv">>;
  /** What is added to every norm's weights */
  readonly normOffset?: number;
  /** Weights are meant as -1, 0 or 1 times their mean size */
  readonly isTernary?: true;
}

/** What traits follow from. */
export interface Header {
  readonly keys: HyperParameterReader;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly headCount: number;
  readonly headSize: number;
  /** How far positions turn heads, by the file's keys */
  readonly rotation: Rotation;
  readonly originalContextSize: number;
}

const norms = ["attn_norm", "ffn_norm"] as const;
const postNorms = ["post_attention_norm", "post_ffw_norm"] as const;
const qkNorms = ["attn_q_norm", "attn_k_norm"] as const;
const subNorms = ["attn_sub_norm", "ffn_sub_norm"] as const;
const normBiases = [
  "attn_norm_bias",
  "ffn_norm_bias",
  "output_norm_bias",
] as const;
const block = [...norms, "ffn_gate"] as const;
const down = ["ffn_down", "ffn_down_t"] as const;
const ffn = [...down, "fc1", "fc2"] as const;
const qkvBiases = ["attn_q_bias", "attn_k_bias", "attn_v_bias"] as const;
const ungatedBiases = [
  ...qkvBiases,
  "attn_output_bias",
  "ffn_up_bias",
  "ffn_down_bias",
] as const;
const biases = [...ungatedBiases, "ffn_gate_bias"] as const;
const factors = [
  "rope_freqs",
  "rope_factors_long",
  "rope_factors_short",
] as const;

/** Where `post_attention_layernorm` is what its name says. */
const postNormNames = {
  post_attention_layernorm: "post_attention_norm",
} as const;

/** What Mixtral calls its experts' tensors, without `.experts.N`. */
const mixtralHub: HubForm = {
  names: {
    "block_sparse_moe.gate": "ffn_gate_inp",
    "block_sparse_moe.w1": "ffn_gate",
    "block_sparse_moe.w2": "ffn_down",
    "block_sparse_moe.w3": "ffn_up",
    "block_sparse_moe.predictor.fc1": "fc1",
    "block_sparse_moe.predictor.fc2": "fc2",
  },
};

const gemmaHub: HubForm = {
  names: { ...postNormNames, pre_feedforward_layernorm: "ffn_norm" },
  normOffset: 1,
};

/** A router whose scores are shares of all experts; those of the chosen ones add up to 1. */
const mixtral = (): ArchitectureRouting => ({
  scoring: "softmax",
  isNormalised: true,
});

/** A block as Llama's is, with whatever biases the file has. */
const llama = {
  needs: block,
  takes: [...ffn, ...biases, ...factors],
  rope: "interleaved",
  activation: (_magic, _layer, stated) => statedActivation(stated, "swiglu"),
} as const satisfies Architecture;

/** By `general.architecture`. */
export const architectures: ReadonlyMap<string, Architecture> = new Map<
  string,
  Architecture
>([
  ["bamboo", {
    ...llama,
    takes: [...ffn, ...factors],
    activation: () => "drelu",
    traits: windowed,
  }],
  // PowerInfer files of ReluLLaMA and ProSparse say `llama` and mean relu(gate)·up;
  // they are recognised by the magic, or, where that is plain GGUF, by the transposed down.
  // A dense file of such a model has to say so.
  ["llama", {
    ...llama,
    activation: (magic, layer, stated) => {
      const isPowerInfer = magic === "PWRI" || layer.ffn_down_t;
      return statedActivation(stated, isPowerInfer ? "reglu" : "swiglu");
    },
    hub: mixtralHub,
    routing: mixtral,
    traits: windowed,
  }],
  ["qwen2", {
    ...llama,
    needs: [...block, ...qkvBiases],
    takes: [...ffn, ...factors],
    rope: "half",
    traits: windowed,
  }],
  ["qwen2moe", {
    ...llama,
    needs: [...block, "ffn_gate_inp"],
    takes: [...ffn, ...qkvBiases],
    rope: "half",
    routing: () => ({ scoring: "softmax", isNormalised: false }),
    sharesExpert: true,
  }],
  ["mistral3", { ...llama, traits: temperature }],
  ["qwen3", {
    ...llama,
    needs: [...block, ...qkNorms],
    rope: "half",
    qkNorm: "head",
    traits: windowed,
  }],
  ["qwen3moe", {
    ...llama,
    needs: [...block, ...qkNorms, "ffn_gate_inp"],
    takes: ffn,
    rope: "half",
    qkNorm: "head",
    routing: mixtral,
    traits: windowed,
  }],
  ["turbosparsemixtral", {
    ...llama,
    needs: [...block, "ffn_gate_inp"],
    takes: [...ffn, ...factors],
    hub: mixtralHub,
    activation: () => "drelu",
    routing: mixtral,
    traits: windowed,
  }],
  ["olmoe", {
    ...llama,
    needs: [...block, ...qkNorms, "ffn_gate_inp"],
    takes: ffn,
    rope: "half",
    qkNorm: "whole",
    routing: () => ({ scoring: "softmax", isNormalised: false }),
  }],
  // Its shares are those of the chosen experts' scores, which is the same as to norm shares of all.
  ["gpt-oss", {
    ...llama,
    needs: [
      ...block,
      ...biases,
      "attn_sinks",
      "ffn_gate_inp",
      "ffn_gate_inp_bias",
    ],
    takes: [...down, ...factors],
    rope: "half",
    names: { post_attention_norm: "ffn_norm" },
    activation: () => "swiglu_oai",
    routing: mixtral,
    traits: (header) => alternating(header, 2, 0, header.rotation),
  }],
  ["smallthinker", {
    ...llama,
    needs: [...block, "ffn_gate_inp"],
    takes: ffn,
    rope: "half",
    hub: {
      names: {
        "block_sparse_moe.primary_router": "ffn_gate_inp",
        "block_sparse_moe.gate": "ffn_gate",
        "block_sparse_moe.up": "ffn_up",
        "block_sparse_moe.down": "ffn_down",
      },
    },
    activation: (_magic, _layer, stated) => statedActivation(stated, "reglu"),
    routing: (keys) => ({
      scoring: scoringOf(keys),
      isNormalised: true,
      readsLayerInput: true,
    }),
    traits: smallthinker,
  }],
  ["gemma2", {
    ...llama,
    needs: [...block, ...postNorms],
    takes: ffn,
    rope: "half",
    hub: gemmaHub,
    activation: (_magic, _layer, stated) => statedActivation(stated, "geglu"),
    traits: (header) => ({
      ...gemma(header, 46),
      ...alternating(header, 2, 4096, header.rotation),
      scoreCap: header.keys.real("scoreCap", 50),
      logitCap: header.keys.real("logitCap", 30),
    }),
  }],
  ["gemma3", {
    ...llama,
    needs: [...block, ...postNorms, ...qkNorms],
    takes: ffn,
    rope: "half",
    qkNorm: "head",
    hub: gemmaHub,
    activation: (_magic, _layer, stated) => statedActivation(stated, "geglu"),
    traits: (header) => ({
      ...gemma(header, 62),
      ...alternating(header, 6, 0, unscaled(10000)),
      logitCap: header.keys.optional("logitCap"),
    }),
  }],
  // Its windows are left out, as llama.cpp does: converters wrote wrong ones.
  ["phi3", {
    ...llama,
    rope: "half",
    fusesGate: true,
    hub: {
      names: {
        "self_attn.qkv_proj": "attn_qkv",
        "mlp.gate_up_proj": "ffn_up",
      },
    },
  }],
  ["smollm3", {
    ...llama,
    traits: ({ layerCount }) => ({
      attention: Array.from(
        { length: layerCount },
        (_, layer) => ({ rotation: (layer + 1) % 4 ? 0 : undefined }),
      ),
    }),
  }],
  ["granite", {
    ...llama,
    traits: ({ keys, layerCount, headSize }) => ({
      attentionScale: keys.optional("attentionScale") ??
        1 / Math.sqrt(headSize),
      embeddingScale: keys.real("embeddingScale", 1),
      residualScale: keys.real("residualScale", 1),
      logitScale: 1 / keys.real("logitScale", 1),
      ...(keys.flag("isRotated") === false
        ? { attention: Array.from({ length: layerCount }, () => ({})) }
        : {}),
    }),
  }],
  ["minicpm", {
    ...llama,
    // Where a file says nothing, what llama.cpp takes.
    traits: ({ keys, layerCount, hiddenSize }) => ({
      embeddingScale: keys.real("embeddingScale", 12),
      residualScale: keys.real("residualScale", 1.4 / Math.sqrt(layerCount)),
      logitScale: 1 / keys.real("logitScale", 256 / hiddenSize),
    }),
  }],
  ["olmo2", {
    ...llama,
    needs: ["ffn_gate", ...postNorms, ...qkNorms],
    takes: ffn,
    rope: "half",
    qkNorm: "whole",
    hub: { names: postNormNames },
    traits: (header) => {
      const { base } = header.rotation;
      return alternating(header, 4, 0, unscaled(base), base);
    },
  }],
  ["exaone4", {
    ...llama,
    needs: ["ffn_gate", ...postNorms, ...qkNorms],
    takes: [...ffn, ...factors],
    rope: "half",
    qkNorm: "head",
    hub: { names: postNormNames },
    traits: exaone4,
  }],
  ["arcee", {
    ...llama,
    needs: norms,
    takes: [...down, ...ungatedBiases, ...factors],
    activation: () => "relu2",
  }],
  ["nemotron", {
    ...llama,
    needs: [...norms, ...normBiases],
    takes: [...down, ...ungatedBiases],
    rope: "half",
    hub: { normOffset: 1 },
    activation: () => "relu2",
    traits: ({ keys }) => ({
      norm: "layer",
      normEpsilon: keys.real("layerEpsilon", 1e-5),
    }),
  }],
  ["bitnet", {
    ...llama,
    needs: [...block, ...subNorms],
    takes: down,
    rope: "half",
    hub: {
      names: {
        "self_attn.attn_sub_norm": "attn_sub_norm",
        "mlp.ffn_sub_norm": "ffn_sub_norm",
      },
      isTernary: true,
    },
  }],
]);

/** What a `hidden_activation` means, or the one that goes without saying. */
function statedActivation(
  stated: string | undefined,
  otherwise: ActivationChoice,
): ActivationChoice {
  if (stated === undefined) return otherwise;
  const known = statedActivations.get(stated);
  if (known) return known;
  if (isFatRelu(stated)) return stated;
  throw new UnsupportedError(
    `Cannot run hidden_activation "${printable(stated)}": known are ${
      [...statedActivations.keys()].join(", ")
    }`,
  );
}

/** The activation that a dense file of an architecture means by its `hidden_activation`, or by none. */
export function activationMeant(
  architecture: Architecture,
  stated?: string,
): ActivationChoice {
  return architecture.activation("GGUF", {}, stated);
}

/** By what Hugging Face calls them, but for dReLU, which it has no name for; of a gated FFN, or of one without a gate. */
export const statedActivations: ReadonlyMap<string, ActivationChoice> = new Map(
  [
    ["silu", "swiglu"],
    ["relu", "reglu"],
    ["relu2", "relu2"],
    ["relu_squared", "relu2"],
    ["gelu_pytorch_tanh", "geglu"],
    ["drelu", "drelu"],
  ],
);

/** What all traits are, but for those that an architecture has of its own. */
export function plainTraits(
  { rope, qkNorm }: Architecture,
  { keys, layerCount, headSize, rotation, originalContextSize }: Header,
): Omit<Traits, "activation" | "gateThreshold"> {
  return {
    norm: "rms",
    normEpsilon: keys.real("rmsEpsilon", 1e-5),
    qkNorm,
    rope,
    rotations: [rotation],
    originalContextSize,
    attention: Array.from({ length: layerCount }, () => ({ rotation: 0 })),
    attentionScale: 1 / Math.sqrt(headSize),
    embeddingScale: 1,
    residualScale: 1,
    logitScale: 1,
  };
}

/** A window in every layer, where the file has one. */
function windowed({ keys, layerCount }: Header): Partial<Traits> {
  const window = keys.count("slidingWindow", 0) || undefined;
  return {
    attention: Array.from({ length: layerCount }, () => ({
      window,
      rotation: 0,
    })),
  };
}

/**
 * A window in all layers but every `pattern`th, if the file has one or
 * `fallback` is not 0; those layers turn by a rotation of their own, of the
 * file's base for them.
 */
function alternating(
  { keys, layerCount, rotation }: Header,
  pattern: number,
  fallback: number,
  own: Rotation,
  base = keys.real("windowedRopeBase", own.base),
): Partial<Traits> {
  const window = keys.count("slidingWindow", fallback);
  if (window === 0) return {};
  return {
    rotations: [rotation, { ...own, base }],
    attention: keys.pattern("windowPattern", layerCount, pattern)
      .map((has) => has ? { window, rotation: 1 } : { rotation: 0 }),
  };
}

function unscaled(base: number): Rotation {
  return { base, scale: 1, magnitude: 1 };
}

/** What Gemma's have in common; queries of the one with `wideLayers` layers are scaled by hidden / heads. */
function gemma(
  { keys, layerCount, hiddenSize, headCount, headSize }: Header,
  wideLayers: number,
): Partial<Traits> {
  const width = layerCount === wideLayers
    ? Math.floor(hiddenSize / headCount)
    : headSize;
  return {
    embeddingScale: Math.sqrt(hiddenSize),
    attentionScale: keys.optional("attentionScale") ?? 1 / Math.sqrt(width),
  };
}

/** Of the large one, three layers of four have a window, and those alone turn. */
function exaone4(header: Header): Partial<Traits> {
  if (header.layerCount !== 64) return {};
  const { attention } = alternating(header, 4, 4096, header.rotation);
  return {
    attention: attention?.map(({ window }) =>
      window === undefined ? {} : { window, rotation: 0 }
    ),
  };
}

/** Where there are windows, of a size of their own, three layers of four have one, and those alone turn. */
function smallthinker(
  { keys, layerCount }: Header,
): Partial<Traits> {
  if (keys.count("slidingWindow", 0) === 0) return {};
  return {
    attention: Array.from(
      { length: layerCount },
      (_, layer) => layer % 4 ? { window: 4096, rotation: 0 } : {},
    ),
  };
}

/** Longer queries at later positions, where the file says so. */
function temperature({ keys, originalContextSize }: Header): Partial<Traits> {
  const scale = keys.optional("temperatureScale");
  return scale ? { temperature: { scale, length: originalContextSize } } : {};
}
