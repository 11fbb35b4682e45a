/** The models of Hugging Face's that can be converted, by what their configs call them. */
import type { HyperParameters } from "../model/hyper_parameters.ts";
import type { ConfigReader } from "./config_reader.ts";

/** What is particular to the models of a `model_type`. */
export interface Family {
  /** `general.architecture` */
  readonly architecture: string;
  /** `hidden_act` where the config does not say it */
  readonly activation: string;
  /** The share of a head that rotates, where the config does not say it */
  readonly rotatedShare?: number;
  /** Whether some layers have a window and others have none */
  readonly mixesWindows?: true;
  /** Neurons of a layer, or of one of its experts, where the config calls them otherwise */
  feedForwardSize?(config: ConfigReader): number;
  /** Keys that only this family has */
  keys?(config: ConfigReader, sizes: FamilySizes): HyperParameters;
}

/** What a family's keys follow from. */
export interface FamilySizes {
  readonly hiddenSize: number;
  readonly headCount: number;
  readonly headSize: number;
  readonly layerCount: number;
}

const llama: Family = { architecture: "llama", activation: "silu" };

const gemma = {
  activation: "gelu_pytorch_tanh",
  mixesWindows: true,
} as const;

/** A window in three layers of four, or as the config says; and no window at all where it has none. */
const someWindows = {
  activation: "silu",
  mixesWindows: true,
  keys: (config, { layerCount }) =>
    config.optional("sliding_window") === undefined
      ? {}
      : { windowPattern: windowsOf(config, layerCount, 4) },
} as const satisfies Omit<Family, "architecture">;

const mistral3: Family = {
  architecture: "mistral3",
  activation: "silu",
  keys: (config) => ({
    temperatureScale: config.object("rope_parameters")
      .optional("llama_4_scaling_beta"),
  }),
};

const mixtral = {
  architecture: "llama",
  activation: "silu",
  keys: (config) => ({
    expertCount: config.size("num_local_experts"),
    usedExperts: config.size("num_experts_per_tok", 2),
  }),
} as const satisfies Family;

/** A router of Qwen's and OLMoE's configs, whose chosen weights are normed or not: the architecture says which. */
function routed(config: ConfigReader, isNormalised: boolean): HyperParameters {
  const { norm_topk_prob: normed = false } = config.json;
  if (normed !== isNormalised) {
    throw config.refusal("norm_topk_prob", normed, `is ${isNormalised}`);
  }
  return {
    expertCount: config.size("num_experts"),
    usedExperts: config.size("num_experts_per_tok"),
  };
}

/** Qwen's experts, which every layer has. */
function qwenExperts(
  config: ConfigReader,
  isNormalised: boolean,
): HyperParameters {
  const { mlp_only_layers: dense = [] } = config.json;
  const every = config.size("decoder_sparse_step", 1);
  if (every !== 1) throw config.refusal("decoder_sparse_step", every, "is 1");
  if (!Array.isArray(dense) || dense.length > 0) {
    throw config.refusal("mlp_only_layers", dense, "is none");
  }
  return {
    ...routed(config, isNormalised),
    expertSize: config.size("moe_intermediate_size"),
  };
}

/** By `model_type`, or the name of its class without `ForCausalLM`. */
export const families: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["bamboo", { architecture: "bamboo", activation: "relu" }],
  ["llama", llama],
  ["mistral", llama],
  ["qwen2", { ...llama, architecture: "qwen2" }],
  // ProSparse.
  ["sparsellama", llama],
  ["qwen3", { ...llama, architecture: "qwen3" }],
  ["mixtral", mixtral],
  ["turbosparsemixtral", {
    ...mixtral,
    architecture: "turbosparsemixtral",
    activation: "relu",
  }],
  ["qwen3_moe", {
    ...llama,
    architecture: "qwen3moe",
    keys: (config) => qwenExperts(config, true),
  }],
  ["qwen2_moe", {
    ...llama,
    architecture: "qwen2moe",
    keys: (config) => ({
      ...qwenExperts(config, false),
      sharedExpertSize: config.size("shared_expert_intermediate_size"),
    }),
  }],
  ["olmoe", {
    ...llama,
    architecture: "olmoe",
    keys: (config) => {
      const { clip_qkv: clip = null } = config.json;
      if (clip !== null) throw config.refusal("clip_qkv", clip, "is null");
      return routed(config, false);
    },
  }],
  ["smallthinker", {
    architecture: "smallthinker",
    activation: "relu",
    mixesWindows: true,
    feedForwardSize: (config) => config.size("moe_ffn_hidden_size"),
    keys: smallthinkerKeys,
  }],
  ["gemma2", {
    ...gemma,
    architecture: "gemma2",
    keys: (config, sizes) => ({
      ...gemmaScale(config, sizes, 46),
      scoreCap: config.optional("attn_logit_softcapping"),
      logitCap: config.optional("final_logit_softcapping"),
    }),
  }],
  ["gemma3", gemma3()],
  ["gemma3_text", gemma3()],
  ["phi3", { ...llama, architecture: "phi3" }],
  ["smollm3", {
    ...llama,
    architecture: "smollm3",
    keys: (config, { layerCount }) => {
      const { no_rope_layers: rotates } = config.json;
      const isUsual = !Array.isArray(rotates) ||
        rotates.length === layerCount &&
          rotates.every((each, i) => Boolean(each) === (i % 4 !== 3));
      if (isUsual) return {};
      throw config.refusal(
        "no_rope_layers",
        rotates,
        "is no rotation in every 4th layer",
      );
    },
  }],
  ["granite", {
    ...llama,
    architecture: "granite",
    keys: (config) => ({
      attentionScale: config.optional("attention_multiplier"),
      embeddingScale: config.optional("embedding_multiplier"),
      residualScale: config.optional("residual_multiplier"),
      logitScale: config.positive("logits_scaling", 1),
    }),
  }],
  ["minicpm", {
    ...llama,
    architecture: "minicpm",
    keys: (config, { hiddenSize, layerCount }) => ({
      embeddingScale: config.positive("scale_emb", 1),
      residualScale: config.positive("scale_depth", 1) / Math.sqrt(layerCount),
      logitScale: hiddenSize / config.positive("dim_model_base", hiddenSize),
    }),
  }],
  ["olmo2", { ...someWindows, architecture: "olmo2" }],
  ["olmo3", { ...someWindows, architecture: "olmo2" }],
  ["exaone4", { ...someWindows, architecture: "exaone4" }],
  ["arcee", { architecture: "arcee", activation: "relu2" }],
  ["nemotron", {
    architecture: "nemotron",
    activation: "relu2",
    rotatedShare: 0.5,
    keys: (config) => ({
      rmsEpsilon: undefined,
      layerEpsilon: config.positive("norm_eps", 1e-5),
    }),
  }],
  ["bitnet", { ...llama, architecture: "bitnet" }],
  ["ministral3", mistral3],
  ["mistral3", mistral3],
]);

/** Its windows are 4096 positions in three layers of four, which alone rotate; or there are none, and all do. */
function smallthinkerKeys(
  config: ConfigReader,
  { layerCount }: FamilySizes,
): HyperParameters {
  const { json } = config;
  const layout = (key: string) => {
    const flags = json[key] ?? new Array(layerCount).fill(0);
    if (Array.isArray(flags) && flags.length === layerCount) {
      return flags.map(Boolean);
    }
    throw config.refusal(key, flags, "is a list of a flag for each layer");
  };
  const windows = layout("sliding_window_layout");
  const isWindowed = windows.some(Boolean);
  if (isWindowed && windows.some((has, i) => has !== (i % 4 > 0))) {
    throw config.refusal(
      "sliding_window_layout",
      json.sliding_window_layout,
      "is a window in all but every 4th layer",
    );
  }
  if (isWindowed && config.size("sliding_window_size") !== 4096) {
    throw config.refusal(
      "sliding_window_size",
      json.sliding_window_size,
      "is 4096",
    );
  }
  const rotates = "rope_layout" in json ? layout("rope_layout") : [];
  if (rotates.some((has, i) => has !== (!isWindowed || i % 4 > 0))) {
    throw config.refusal(
      "rope_layout",
      json.rope_layout,
      "is that of the windows",
    );
  }
  const size = config.size("moe_ffn_hidden_size");
  return {
    slidingWindow: isWindowed ? 4096 : undefined,
    expertCount: config.size("moe_num_primary_experts"),
    usedExperts: config.size("moe_num_active_primary_experts"),
    expertSize: size,
    expertScoring: json.moe_primary_router_apply_softmax ? 1 : 2,
  };
}

function gemma3(): Family {
  return {
    ...gemma,
    architecture: "gemma3",
    keys: (config, sizes) => {
      const every = config.optionalSize("sliding_window_pattern") ??
        config.size("_sliding_window_pattern", 6);
      const flags = windowsOf(config, sizes.layerCount, every);
      const isUsual = flags.every((has, i) => has === (i % 6 !== 5));
      return {
        ...gemmaScale(config, sizes, 62),
        logitCap: config.optional("final_logit_softcapping"),
        windowPattern: isUsual ? undefined : flags,
      };
    },
  };
}

/** Which layers have a window: as `layer_types` says, or all but every so many'th. */
function windowsOf(
  config: ConfigReader,
  layerCount: number,
  every: number,
): boolean[] {
  const types = config.texts("layer_types", layerCount);
  return Array.from(
    { length: layerCount },
    (_, layer) =>
      types
        ? types[layer] === "sliding_attention"
        : layer % every !== every - 1,
  );
}

/** The scale of attention, where it is none that the architecture has by itself. */
function gemmaScale(
  config: ConfigReader,
  { headSize, hiddenSize, headCount, layerCount }: FamilySizes,
  wideLayers: number,
): HyperParameters {
  const scalar = config.positive("query_pre_attn_scalar", headSize);
  const usual = layerCount === wideLayers
    ? Math.floor(hiddenSize / headCount)
    : headSize;
  return {
    attentionScale: scalar === usual ? undefined : 1 / Math.sqrt(scalar),
  };
}
