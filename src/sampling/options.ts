/**
 * How the next token is chosen: the options of a sampler.
 *
 * @module
 */
import * as v from "valibot";
import { UsageError } from "../errors.ts";
import {
  type Checked,
  checkValue,
  oneOf,
  type OptionsOf,
  type SchemaOf,
  valuesOf,
} from "../options.ts";

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

/** All samplers, in the order in which llama.cpp applies them. */
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

/** Past this a penalty or a temperature means nothing, and sums could leave f32's range. */
const large = 1e6;

/** A bias may also stand for "never" or "always", which users write as large numbers. */
const largestBias = 1e30;

const isIterable = (value: unknown) =>
  typeof value === "object" && value !== null && Symbol.iterator in value;
const isObject = (value: unknown) => typeof value === "object";

/** How the next token is chosen, with llama.cpp's names, defaults and meanings. */
export const samplingOptions = {
  /** Divides the logits; 0 or less always takes the likeliest token. */
  temperature: {
    type: "number",
    minimum: -large,
    maximum: large,
    default: 0.8,
    flag: "--temp, --temperature <t>",
    description: "what logits are divided by; 0 = always the likeliest token",
  },
  /** Keeps this many of the likeliest tokens; 0 or -1 keeps all. */
  topK: {
    type: "integer",
    minimum: -1,
    default: 40,
    flag: "--top-k <n>",
    description: "keep the n likeliest tokens; 0 = off",
  },
  /** Keeps the likeliest tokens whose probabilities reach this sum; 1 keeps all. */
  topP: {
    type: "number",
    minimum: 0,
    maximum: 1,
    default: 0.95,
    flag: "--top-p <p>",
    description: "keep the likeliest tokens that sum to p; 1 = off",
  },
  /** Keeps tokens at least this share as likely as the likeliest; 0 keeps all. */
  minP: {
    type: "number",
    minimum: 0,
    maximum: 1,
    default: 0.05,
    flag: "--min-p <p>",
    description: "keep tokens p times as likely as the best; 0 = off",
  },
  /** Keeps the tokens of most typical surprise whose probabilities reach this sum; 1 keeps all. */
  typicalP: {
    type: "number",
    minimum: 0,
    maximum: 1,
    default: 1,
    flag: "--typical, --typical-p <p>",
    description: "keep the typical tokens that sum to p; 1 = off",
  },
  /** Divides positive logits of seen tokens and multiplies negative ones; 1 is off. */
  repeatPenalty: {
    type: "number",
    minimum: 1 / large,
    maximum: large,
    default: 1,
    flag: "--repeat-penalty <x>",
    description: "divide logits of seen tokens; 1 = off",
  },
  /** How many of the last tokens the penalties look at; 0 none, -1 all. */
  repeatLastN: {
    type: "integer",
    minimum: -1,
    default: 64,
    flag: "--repeat-last-n <n>",
    description: "how far penalties look back; -1 = all",
  },
  /** Taken once from the logit of every seen token. */
  presencePenalty: {
    type: "number",
    minimum: -large,
    maximum: large,
    default: 0,
    flag: "--presence-penalty <x>",
    description: "taken from seen tokens' logits; 0 = off",
  },
  /** Taken from the logit of a seen token, times how often it was seen. */
  frequencyPenalty: {
    type: "number",
    minimum: -large,
    maximum: large,
    default: 0,
    flag: "--frequency-penalty <x>",
    description: "taken for each time a token was seen; 0 = off",
  },
  /** How likely a step removes the top choices (XTC); 0 is off. */
  xtcProbability: {
    type: "number",
    minimum: 0,
    maximum: 1,
    default: 0,
    flag: "--xtc-probability <p>",
    description: "how often the top choices are excluded; 0 = off",
  },
  /** Tokens at least this likely count as top choices for XTC; above 0.5 is off. */
  xtcThreshold: {
    type: "number",
    minimum: 0,
    maximum: 1,
    default: 0.1,
    flag: "--xtc-threshold <p>",
    description: "how likely top choices are",
  },
  /** Strength of the penalty against repeated sequences (DRY); 0 is off. */
  dryMultiplier: {
    type: "number",
    minimum: 0,
    maximum: large,
    default: 0,
    flag: "--dry-multiplier <x>",
    description: "penalty on repeated passages; 0 = off",
  },
  /** The DRY penalty grows by this factor with each further repeated token. */
  dryBase: {
    type: "number",
    minimum: 1,
    maximum: large,
    default: 1.75,
    flag: "--dry-base <x>",
    description: "its growth with each token",
  },
  /** Repeats up to this length are free of the DRY penalty. */
  dryAllowedLength: {
    type: "integer",
    minimum: 0,
    default: 2,
    flag: "--dry-allowed-length <n>",
    description: "longest passage without it",
  },
  /** How many of the last tokens DRY looks at; 0 none, -1 all. */
  dryPenaltyLastN: {
    type: "integer",
    minimum: -1,
    default: -1,
    flag: "--dry-penalty-last-n <n>",
    description: "how far it looks back; -1 = all",
  },
  /** Ids of tokens that end a DRY repeat; `tokensContaining` finds them from strings. Default none. */
  dryBreakers: {
    schema: v.custom(isIterable, "a list of token ids") as SchemaOf<
      Iterable<number>
    >,
    defaultText: "none",
    description: "ids of tokens that end a DRY repeat",
  },
  /** The order of the chain, and what is in it. Default: llama.cpp's, with everything. */
  samplers: {
    schema: v.array(
      oneOf(defaultSamplers),
      `a list of ${defaultSamplers.join(", ")}`,
    ) as SchemaOf<readonly SamplerName[]>,
    default: defaultSamplers,
    flag: "--samplers <order>",
    description: "what is applied, in this order",
  },
  /** Added to the logits of these ids before everything else; -Infinity forbids a token. */
  logitBias: {
    schema: v.custom(
      isObject,
      "an object, or a Map, from ids to numbers",
    ) as SchemaOf<
      ReadonlyMap<number, number> | Readonly<Record<number, number>>
    >,
    flag: "-l, --logit-bias <bias>",
    description: "ID+BIAS or ID-BIAS",
  },
  /** The same seed, options and logits give the same tokens; -1 takes a random one. */
  seed: {
    type: "integer",
    minimum: -1,
    default: -1,
    flag: "-s, --seed <n>",
    description: "the same seed gives the same text; -1 = random",
  },
} as const;

/** How the next token is chosen. Everything may be left out; {@linkcode samplingOptions} has ranges and defaults. */
export type SamplingOptions = OptionsOf<typeof samplingOptions>;

/** Options with every default filled in, and the biases as a list. */
export type CheckedSamplingOptions =
  & Omit<Checked<typeof samplingOptions>, "logitBias" | "dryBreakers">
  & {
    readonly logitBias: readonly (readonly [id: number, bias: number])[];
    readonly dryBreakers: ReadonlySet<number>;
  };

/**
 * Fills in the defaults and checks every range. Options that are not about
 * sampling are left out.
 *
 * @throws {UsageError} naming the option, its range and the value given.
 */
export function checkSamplingOptions(
  options: SamplingOptions,
  vocabSize: number,
): CheckedSamplingOptions {
  const checked = valuesOf(samplingOptions, options);
  return {
    ...checked,
    dryBreakers: new Set(checked.dryBreakers),
    logitBias: checkLogitBias(checked.logitBias, vocabSize),
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

/** Other spellings that llama.cpp accepts. */
const aliases = new Map<string, SamplerName>([
  ["typical", "typ_p"],
  ["typical_p", "typ_p"],
  ["temp", "temperature"],
]);

/**
 * Reads an order such as `"top_k;top_p;temperature"`, as llama.cpp's
 * `--samplers` takes it; `-` stands for `_`.
 * @throws {UsageError} for a name that is not a sampler's.
 */
export function parseSamplers(text: string): SamplerName[] {
  const names = text.split(";").map((each) => each.trim().replaceAll("-", "_"));
  const known = names.filter(Boolean).map((name) => aliases.get(name) ?? name);
  return checkValue(
    "samplers",
    samplingOptions.samplers,
    known,
  ) as SamplerName[];
}
