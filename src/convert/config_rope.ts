import type { HyperParameters } from "../model/hyper_parameters.ts";
import type { OuterTensorName } from "../model/schema.ts";
import type { ConfigReader } from "./config_reader.ts";

/** Divisors of the rotation's frequencies, `[ropeSize / 2]` each, by tensor. */
export type RopeFactors = ReadonlyMap<OuterTensorName, Float32Array>;

/** What a config says of rotation. */
export interface ConfigRope {
  readonly keys: HyperParameters;
  readonly factors: RopeFactors;
}

/**
 * Reads it: in the newer way all in `rope_parameters`, which may differ for
 * layers with a window; `ropeSize` elements of a head turn.
 *
 * @throws {UnsupportedError} for a scaling that culm does not know
 * @throws {FormatError} where a number is missing or makes no sense
 */
export function readRope(config: ConfigReader, ropeSize: number): ConfigRope {
  const all = config.object("rope_parameters", "rope_scaling");
  const scaling = "full_attention" in all.json
    ? all.object("full_attention")
    : all;
  const ropeBase = config.optional("rope_theta") ??
    scaling.positive("rope_theta", 10000);
  const windowedRopeBase = config.optional("rope_local_base_freq") ??
    all.object("sliding_attention").optional("rope_theta");
  const base = { ropeBase, windowedRopeBase };
  const type = scaling.json.rope_type ?? scaling.json.type ?? "default";
  switch (type) {
    case "default":
      return { keys: base, factors: new Map() };
    case "linear":
      return {
        keys: {
          ...base,
          ropeScaling: "linear",
          ropeScale: scaling.positive("factor"),
        },
        factors: new Map(),
      };
    case "yarn":
      return {
        keys: { ...base, ...yarnKeys(config, scaling) },
        factors: new Map(),
      };
    case "llama3":
      return {
        keys: base,
        factors: new Map([
          ["rope_freqs", llama3Factors(ropeBase, ropeSize, scaling)],
        ]),
      };
    case "su":
    case "longrope":
      return longRope(config, scaling, ropeSize, base);
  }
  throw config.refusal(
    "rope scaling",
    type,
    "are default, linear, yarn, llama3 and longrope",
  );
}

/** The context that a model was first trained on. */
function originalContext(
  config: ConfigReader,
  scaling: ConfigReader,
): number | undefined {
  const key = "original_max_position_embeddings";
  return scaling.optional(key) ?? config.optional(key);
}

function yarnKeys(
  config: ConfigReader,
  scaling: ConfigReader,
): HyperParameters {
  const ropeScale = scaling.positive("factor");
  const stated = scaling.optional("attention_factor");
  return {
    ropeScaling: "yarn",
    ropeScale,
    originalContextSize: originalContext(config, scaling) ??
      config.size("max_position_embeddings"),
    yarnBetaFast: scaling.optional("beta_fast"),
    yarnBetaSlow: scaling.optional("beta_slow"),
    yarnLogMultiplier: scaling.optional("mscale_all_dim"),
    // Files say by what it differs from the usual one.
    ropeMagnitude: stated && stated / (0.1 * Math.log(ropeScale) + 1),
  };
}

/** Longrope (arXiv 2402.13753): factors for short texts and for long ones. */
function longRope(
  config: ConfigReader,
  scaling: ConfigReader,
  ropeSize: number,
  keys: HyperParameters,
): ConfigRope {
  const contextSize = config.size("max_position_embeddings");
  const original = originalContext(config, scaling) ?? contextSize;
  const stretch = contextSize / original;
  const ropeMagnitude = scaling.optional("attention_factor") ??
    (stretch > 1 ? Math.sqrt(1 + Math.log(stretch) / Math.log(original)) : 1);
  const list = (key: string) => {
    const factors = scaling.list(key, ropeSize / 2);
    if (factors) return factors;
    throw config.refusal(
      `rope_scaling.${key}`,
      undefined,
      "is one for each pair",
    );
  };
  return {
    keys: {
      ...keys,
      ropeScaling: "longrope",
      originalContextSize: original,
      ropeMagnitude,
    },
    factors: new Map([
      ["rope_factors_long", list("long_factor")],
      ["rope_factors_short", list("short_factor")],
    ]),
  };
}

/**
 * Llama 3 slows down frequencies that turn fewer than `low` times within the
 * context it was first trained on, leaves those above `high` alone, and blends
 * between.
 */
function llama3Factors(
  base: number,
  ropeSize: number,
  scaling: ConfigReader,
): Float32Array {
  const factor = scaling.positive("factor", 8);
  const low = scaling.positive("low_freq_factor", 1);
  const high = scaling.positive("high_freq_factor", 4);
  const context = scaling.positive("original_max_position_embeddings", 8192);
  return Float32Array.from({ length: ropeSize / 2 }, (_, i) => {
    const turns = context * base ** (-2 * i / ropeSize) / (2 * Math.PI);
    if (turns > high) return 1;
    if (turns < low) return factor;
    const share = (turns - low) / (high - low);
    return 1 / ((1 - share) / factor + share);
  });
}
