import { UsageError } from "../errors.ts";

/** One step of the chain from logits to token. */
export type SamplerName =
  | "penalties"
  | "dry"
  | "top_k"
  | "typ_p"
  | "top_p"
  | "min_p"
  | "xtc"
  | "temperature";

/** The order in which llama.cpp applies its samplers. */
export const defaultSamplers: readonly SamplerName[] = [
  "penalties",
  "dry",
  "top_k",
  "typ_p",
  "top_p",
  "min_p",
  "xtc",
  "temperature",
];

/** How the next token is chosen, with llama.cpp's names, defaults and meanings. Everything may be left out. */
export interface SamplingOptions {
  /** Divides the logits; 0 or less always takes the likeliest token. Default 0.8. */
  temperature?: number;
  /** Keeps this many of the likeliest tokens; 0 or -1 keeps all. Default 40. */
  topK?: number;
  /** Keeps the likeliest tokens whose probabilities reach this sum; 1 keeps all. Default 0.95. */
  topP?: number;
  /** Keeps tokens at least this share as likely as the likeliest; 0 keeps all. Default 0.05. */
  minP?: number;
  /** Keeps the tokens of most typical surprise whose probabilities reach this sum; 1 keeps all. Default 1. */
  typicalP?: number;
  /** Divides positive logits of seen tokens and multiplies negative ones; 1 is off. Default 1. */
  repeatPenalty?: number;
  /** How many of the last tokens the penalties look at; 0 none, -1 all. Default 64. */
  repeatLastN?: number;
  /** Taken once from the logit of every seen token. Default 0. */
  presencePenalty?: number;
  /** Taken from the logit of a seen token, times how often it was seen. Default 0. */
  frequencyPenalty?: number;
  /** How likely a step removes the top choices (XTC); 0 is off. Default 0. */
  xtcProbability?: number;
  /** Tokens at least this likely count as top choices for XTC; above 0.5 is off. Default 0.1. */
  xtcThreshold?: number;
  /** Strength of the penalty against repeated sequences (DRY); 0 is off. Default 0. */
  dryMultiplier?: number;
  /** The DRY penalty grows by this factor with each further repeated token. Default 1.75. */
  dryBase?: number;
  /** Repeats up to this length are free of the DRY penalty. Default 2. */
  dryAllowedLength?: number;
  /** How many of the last tokens DRY looks at; 0 none, -1 all. Default -1. */
  dryPenaltyLastN?: number;
  /** Ids of tokens that end a DRY repeat; `tokensContaining` finds them from strings. Default none. */
  dryBreakers?: Iterable<number>;
  /** Added to the logits of these ids before everything else; -Infinity forbids a token. */
  logitBias?: ReadonlyMap<number, number> | Readonly<Record<number, number>>;
  /** The same seed, options and logits give the same tokens; -1 or left out takes a random one. */
  seed?: number;
  /** The order of the chain, and what is in it. Default {@linkcode defaultSamplers}. */
  samplers?: readonly SamplerName[];
  /** False leaves `SampledToken.logprob` NaN, which saves one exponential per vocabulary entry. Default true. */
  logprob?: boolean;
}

/** Options with every default filled in, and the biases as a list. */
export type CheckedSamplingOptions =
  & Required<Omit<SamplingOptions, "logitBias" | "dryBreakers">>
  & {
    logitBias: readonly (readonly [id: number, bias: number])[];
    dryBreakers: ReadonlySet<number>;
  };

/** Past this a penalty or a temperature means nothing, and sums could leave f32's range. */
const large = 1e6;

/** A bias may also stand for "never" or "always", which users write as large numbers. */
const largestBias = 1e30;

/**
 * Fills in the defaults and checks every range.
 * @throws {UsageError} naming the option, its range and the value given.
 */
export function checkSamplingOptions(
  options: SamplingOptions,
  vocabSize: number,
): CheckedSamplingOptions {
  const number = (
    name: keyof SamplingOptions,
    fallback: number,
    low: number,
    high: number,
  ): number => {
    const value = options[name] ?? fallback;
    if (typeof value === "number" && value >= low && value <= high) {
      return value;
    }
    throw new UsageError(
      `Cannot use ${name} ${value}: it is a number from ${low} to ${high}`,
    );
  };
  const integer = (
    name: keyof SamplingOptions,
    fallback: number,
    low: number,
  ): number => {
    const value = options[name] ?? fallback;
    if (Number.isSafeInteger(value) && value as number >= low) {
      return value as number;
    }
    throw new UsageError(
      `Cannot use ${name} ${value}: it is a whole number from ${low} up`,
    );
  };
  return {
    temperature: number("temperature", 0.8, -large, large),
    topK: integer("topK", 40, -1),
    topP: number("topP", 0.95, 0, 1),
    minP: number("minP", 0.05, 0, 1),
    typicalP: number("typicalP", 1, 0, 1),
    repeatPenalty: number("repeatPenalty", 1, 1 / large, large),
    repeatLastN: integer("repeatLastN", 64, -1),
    presencePenalty: number("presencePenalty", 0, -large, large),
    frequencyPenalty: number("frequencyPenalty", 0, -large, large),
    xtcProbability: number("xtcProbability", 0, 0, 1),
    xtcThreshold: number("xtcThreshold", 0.1, 0, 1),
    dryMultiplier: number("dryMultiplier", 0, 0, large),
    dryBase: number("dryBase", 1.75, 1, large),
    dryAllowedLength: integer("dryAllowedLength", 2, 0),
    dryPenaltyLastN: integer("dryPenaltyLastN", -1, -1),
    dryBreakers: new Set(options.dryBreakers),
    logitBias: checkLogitBias(options.logitBias, vocabSize),
    seed: integer("seed", -1, -1),
    samplers: (options.samplers ?? defaultSamplers).map((name) =>
      checkSampler(name)
    ),
    logprob: options.logprob ?? true,
  };
}

function checkLogitBias(
  bias: SamplingOptions["logitBias"],
  vocabSize: number,
): [number, number][] {
  const entries = (bias instanceof Map ? [...bias] : Object.entries(bias ?? {}))
    .map(([id, value]): [number, number] => [Number(id), value]);
  for (const [id, value] of entries) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new UsageError(
        `Cannot bias token ${id}: the vocabulary has ids 0 to ${vocabSize - 1}`,
      );
    }
    if (
      typeof value !== "number" ||
      !(value === -Infinity || Math.abs(value) <= largestBias)
    ) {
      throw new UsageError(
        `Cannot bias token ${id} by ${value}: a bias is -Infinity or a number from -${largestBias} to ${largestBias}`,
      );
    }
  }
  return entries;
}

function checkSampler(name: SamplerName, written: string = name): SamplerName {
  if (defaultSamplers.includes(name)) return name;
  throw new UsageError(
    `Cannot use sampler "${written}": the samplers are ${
      defaultSamplers.join(", ")
    }`,
  );
}

/** Other spellings that llama.cpp accepts. */
const aliases: Readonly<Record<string, SamplerName>> = {
  typical: "typ_p",
  typical_p: "typ_p",
  temp: "temperature",
};

/**
 * Reads an order such as `"top_k;top_p;temperature"`, as llama.cpp's
 * `--samplers` takes it; `-` stands for `_`.
 * @throws {UsageError} for a name that is not a sampler's.
 */
export function parseSamplers(text: string): SamplerName[] {
  const names = text.split(";").map((each) => each.trim().replaceAll("-", "_"));
  return names.filter(Boolean).map((name) =>
    checkSampler(aliases[name] ?? name as SamplerName, name)
  );
}
