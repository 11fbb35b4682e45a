import type { MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { FormatError, UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import type { JsonObject } from "../formats/json.ts";
import type { ActivationChoice } from "../model/activation.ts";
import {
  activationMeant,
  architectures,
  statedActivations,
} from "../model/architectures.ts";
import { hyperParameterMetadata } from "../model/hyper_parameters.ts";
import { limits } from "../model/model.ts";
import { ConfigReader } from "./config_reader.ts";
import { readRope, type RopeFactors } from "./config_rope.ts";
import { families, type Family } from "./families.ts";

/** What a config says of the model. Sizes count elements. */
export interface Config {
  /** GGUF's `general.architecture` */
  readonly architecture: string;
  /** What makes a neuron's value */
  readonly activation: ActivationChoice;
  /** Query heads */
  readonly headCount: number;
  /** Key and value heads */
  readonly kvHeadCount: number;
  /** Elements of one head */
  readonly headSize: number;
  /** Tokens; 0 where the config does not say */
  readonly vocabSize: number;
  /** Whether the embedding is the output head as well */
  readonly isTied: boolean;
  /** Experts of a layer, where there is a router */
  readonly expertCount?: number;
  /** Divisors of the rotation's frequencies, by tensor */
  readonly ropeFactors: RopeFactors;
  /** The model's keys of GGUF, with the architecture's name before them */
  readonly metadata: readonly (readonly [string, MetadataEntry])[];
  /** What GGUF cannot say */
  readonly notes: readonly string[];
}

/**
 * Reads a config. `name` is its file's, for messages.
 *
 * @throws {UnsupportedError} for models of no family that is known, and features that culm cannot run
 * @throws {FormatError} where a size is missing or makes no sense
 */
export function readConfig(json: JsonObject, name: string): Config {
  const config = new ConfigReader(json, name);
  const family = familyOf(config);
  const { architecture } = family;
  const hiddenSize = config.size("hidden_size");
  const headCount = config.size("num_attention_heads");
  const kvHeadCount = config.size("num_key_value_heads", headCount);
  const headSize = config.size(
    "head_dim",
    Math.floor(hiddenSize / headCount) || 1,
    limits.headSize,
  );
  const contextSize = config.size("max_position_embeddings", 2048);
  if (headCount % kvHeadCount !== 0 || headSize % 2 !== 0) {
    throw new FormatError(
      `Cannot read ${name}: ${headCount} heads of ${headSize} elements with ${kvHeadCount} key heads make no model`,
    );
  }
  const share = config.optional("partial_rotary_factor") ??
    config.object("rope_parameters").optional("partial_rotary_factor") ??
    family.rotatedShare ?? 1;
  const ropeSize = Math.floor(share * headSize);
  const rope = readRope(config, ropeSize);
  const activation = readActivation(config, family);
  const isUsual = headSize * headCount === hiddenSize;
  const layerCount = config.size("num_hidden_layers", undefined, limits.layers);
  const sizes = { hiddenSize, headCount, headSize, layerCount };
  const keys = family.keys?.(config, sizes);
  const metadata = hyperParameterMetadata(architecture, {
    contextSize,
    hiddenSize,
    layerCount,
    feedForwardSize: family.feedForwardSize?.(config) ??
      config.size("intermediate_size"),
    ropeSize,
    headCount,
    kvHeadCount,
    rmsEpsilon: config.positive("rms_norm_eps", 1e-6),
    ...rope.keys,
    headSize: isUsual ? undefined : headSize,
    valueSize: isUsual ? undefined : headSize,
    slidingWindow: readWindow(config, family, contextSize, layerCount),
    activation: activation.stated,
    ...keys,
  });
  return {
    architecture,
    activation: activation.meant,
    headCount,
    kvHeadCount,
    headSize,
    vocabSize: json.vocab_size === undefined ? 0 : config.size("vocab_size"),
    isTied: json.tie_word_embeddings === true ||
      architecture.startsWith("gemma") && json.tie_word_embeddings !== false,
    expertCount: keys?.expertCount,
    ropeFactors: rope.factors,
    metadata,
    notes: activation.note ? [activation.note] : [],
  };
}

function familyOf(config: ConfigReader): Family {
  const { model_type: type, architectures: classes } = config.json;
  const first = Array.isArray(classes) ? classes[0] : undefined;
  const names = [type, first].filter((each) => typeof each === "string");
  for (const each of names) {
    const key = each.replace(/ForCausalLM$/, "").toLowerCase();
    const family = families.get(key);
    if (family) return family;
  }
  throw config.refusal(
    "model_type",
    type,
    `are ${[...families.keys()].join(", ")}`,
  );
}

/** What the config means, what the file has to say of it, and what is to be noted. */
interface ConfigActivation {
  readonly meant: ActivationChoice;
  readonly stated?: string;
  readonly note?: string;
}

function readActivation(
  config: ConfigReader,
  { architecture, activation }: Family,
): ConfigActivation {
  const { hidden_activation, hidden_act } = config.json;
  const act = hidden_activation ?? hidden_act ?? activation;
  const row = architectures.get(architecture)!;
  const implied = (stated?: string) => activationMeant(row, stated);
  if (act === "fatrelu") {
    const threshold = config.json.hidden_act_param === 0
      ? 0
      : config.optional("hidden_act_param") ?? 0;
    const stated = threshold > 0 ? `fatrelu=${threshold}` : "relu";
    const note =
      `fatrelu's threshold ${threshold} is kept as hidden_activation, which other programs do not read`;
    return {
      meant: implied(stated),
      stated,
      note: threshold > 0 ? note : undefined,
    };
  }
  // Some files can say it, others have one that goes without saying.
  const usual = implied();
  const named = [...statedActivations].filter(([, each]) => each === usual)
    .map(([name]) => name);
  if (typeof act === "string") {
    if (named.includes(act) || act === activation) return { meant: usual };
    if (statedActivations.has(act) && implied(act) !== usual) {
      return { meant: implied(act), stated: act };
    }
  }
  const known = implied("relu") === usual
    ? [activation]
    : [...statedActivations.keys(), "fatrelu"];
  throw config.refusal("hidden_act", act, `are ${known.join(", ")}`);
}

/** Attention's window. Some state whether they use it, and from which layer on; others have it in some layers. */
function readWindow(
  config: ConfigReader,
  { mixesWindows }: Family,
  contextSize: number,
  layerCount: number,
): number | undefined {
  const { json, name } = config;
  if (json.use_sliding_window === false) return undefined;
  const window = config.optionalSize("sliding_window");
  if (window === undefined) return undefined;
  if (mixesWindows) return window;
  const { max_window_layers: first = 0 } = json;
  if (window >= contextSize || first as number >= layerCount) return undefined;
  if (first !== 0) {
    throw new UnsupportedError(
      `Cannot convert ${name}: its max_window_layers is ${
        printable(JSON.stringify(first))
      } of ${layerCount} layers, known is a window in all layers`,
    );
  }
  return window;
}
