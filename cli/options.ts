/**
 * The groups of flags that commands share, with llama.cpp's names, and what
 * they mean to the library.
 *
 * @module
 */
import type { Option } from "commander";
import {
  type Activation,
  type CacheType,
  checkSamplingOptions,
  type GenerateOptions,
  type LoadOptions,
  parseSamplers,
  parseSparsity,
  type SamplerName,
  type SamplingOptions,
  type Sparsity,
  type Tokenizer,
  tokensContaining,
} from "../mod.ts";
import { BadFlags, group, option } from "./option.ts";
import {
  logitBiases,
  numberBetween,
  oneOf,
  texts,
  wholeNumber,
} from "./values.ts";

/** Which model. */
export interface ModelFlags {
  readonly model?: string;
}

/** Options that give {@linkcode ModelFlags}. */
export const modelOptions: readonly Option[] = group(
  "Model",
  option(
    "-m, --model <file>",
    "GGUF or PowerInfer file, or its URL; left out: the embedded tiny-bamboo",
  ),
);

/** How a model is held. */
export interface LoadFlags extends ModelFlags {
  readonly ctxSize: number;
  readonly threads?: number;
  readonly batchSize: number;
  readonly sparsity: Sparsity;
  readonly cacheTypeK?: CacheType;
  readonly cacheTypeV?: CacheType;
  readonly activation?: Activation;
  /** A file's name; `false`: none, also where there is one. */
  readonly profile?: string | false;
  readonly hot?: number;
}

const ctxSize = option(
  "-c, --ctx-size <n>",
  "positions of context; 0 = the model's",
  wholeNumber(0),
  0,
);
const threads = option(
  "-t, --threads <n>",
  "threads; 0 = compute in the main thread (default: one for each core)",
  wholeNumber(0),
);
const batchSize = option(
  "-b, --batch-size <n>",
  "most tokens in one step",
  wholeNumber(1),
  128,
);
const sparsity = option(
  "--sparsity <mode>",
  "neurons computed: dense, exact, predictor, predictor=SCORE, top-k=SHARE or threshold=VALUE",
  parseSparsity,
).default({ mode: "exact" }, "exact");
const profiles = [
  option(
    "--profile <file>",
    "how often each neuron fires, as culm profile counts it (default: MODEL.profile, where there is one)",
  ),
  option("--no-profile", "keep the file's order of neurons"),
  option(
    "--hot <share>",
    "share of each layer's neurons, hottest first, that is read without asking (default: measured)",
    numberBetween(0, 1),
  ),
];
const cacheTypes = [
  option(
    "-ctk, --cache-type-k <type>",
    "how the KV cache is stored: f16 or f32; one of -ctk and -ctv sets both (default: f16)",
    oneOf("f16", "f32"),
  ),
  option("-ctv, --cache-type-v <type>", "as -ctk", oneOf("f16", "f32")),
];
const activation = option(
  "--activation <name>",
  "swiglu, reglu or drelu, over what the file implies",
  oneOf("swiglu", "reglu", "drelu"),
);

/** What `inspect` needs to say what a model costs. */
export const memoryOptions: readonly Option[] = group(
  "Running",
  ctxSize,
  threads,
  batchSize,
  ...cacheTypes,
  activation,
);

/** Options that give {@linkcode LoadFlags}, but for `-c`. */
export const benchLoadOptions: readonly Option[] = [
  ...modelOptions,
  ...group(
    "Running",
    threads,
    batchSize,
    sparsity,
    ...profiles,
    ...cacheTypes,
    activation,
  ),
];

/** Options that give {@linkcode LoadFlags}. */
export const loadOptions: readonly Option[] = [
  ...modelOptions,
  ...group(
    "Running",
    ctxSize,
    threads,
    batchSize,
    sparsity,
    ...profiles,
    ...cacheTypes,
    activation,
  ),
];

/** Options of a run that counts neurons; they give {@linkcode LoadFlags} too. */
export const countingOptions: readonly Option[] = group(
  "Running",
  option(
    "-c, --ctx-size <n>",
    "tokens of the text that are run one after another, before the context is emptied",
    wholeNumber(1),
    512,
  ),
  threads,
  batchSize,
  activation,
);

/** The one type of the cache that two flags ask for. */
export function cacheTypeOf(
  { cacheTypeK, cacheTypeV }: Pick<LoadFlags, "cacheTypeK" | "cacheTypeV">,
): CacheType {
  if (cacheTypeK && cacheTypeV && cacheTypeK !== cacheTypeV) {
    throw new BadFlags(
      `Cannot store keys as ${cacheTypeK} and values as ${cacheTypeV}: both are stored in one type`,
    );
  }
  return cacheTypeK ?? cacheTypeV ?? "f16";
}

/** What the flags ask of loading. */
export function loadOptionsOf(flags: LoadFlags): LoadOptions {
  return {
    contextSize: flags.ctxSize,
    threads: flags.threads,
    batchSize: flags.batchSize,
    sparsity: flags.sparsity,
    cacheType: cacheTypeOf(flags),
    activation: flags.activation,
    hotShare: flags.hot,
  };
}

/** How the next token is chosen, and when the text ends. */
export interface SamplingFlags {
  readonly predict: number;
  readonly seed: number;
  readonly temp: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly typical: number;
  readonly repeatPenalty: number;
  readonly repeatLastN: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly xtcProbability: number;
  readonly xtcThreshold: number;
  readonly dryMultiplier: number;
  readonly dryBase: number;
  readonly dryAllowedLength: number;
  readonly dryPenaltyLastN: number;
  readonly drySequenceBreaker?: string[];
  readonly samplers: SamplerName[];
  readonly logitBias?: [number, number][];
  readonly ignoreEos?: true;
  readonly reversePrompt?: string[];
  readonly stop?: string[];
}

const defaults = checkSamplingOptions({}, 1);
const share = numberBetween(0, 1);
const penalty = numberBetween(-1e6, 1e6);

/** llama.cpp's: what a repeated passage ends at. */
const dryBreakers = ["\n", ":", '"', "*"];

/** Options that give {@linkcode SamplingFlags}. */
export const samplingOptions: readonly Option[] = [
  ...group(
    "Length",
    option(
      "-n, --predict <n>",
      "most tokens to generate; -1 = until the end",
      wholeNumber(-1),
      -1,
    ),
    option("--ignore-eos", "never end before -n"),
    option(
      "-r, --reverse-prompt <text>",
      "end before this text; may be repeated",
      texts,
    ),
    option("--stop <text>", "as -r", texts),
  ),
  ...group(
    "Sampling",
    option("-s, --seed <n>", "-1 = random", wholeNumber(-1), -1),
    option(
      "--temp <t>",
      "temperature; 0 = always the likeliest token",
      penalty,
      defaults.temperature,
    ),
    option(
      "--top-k <n>",
      "keep the n likeliest tokens; 0 = off",
      wholeNumber(-1),
      defaults.topK,
    ),
    option(
      "--top-p <p>",
      "keep the likeliest tokens that sum to p; 1 = off",
      share,
      defaults.topP,
    ),
    option(
      "--min-p <p>",
      "keep tokens p times as likely as the best; 0 = off",
      share,
      defaults.minP,
    ),
    option(
      "--typical <p>",
      "keep the typical tokens that sum to p; 1 = off",
      share,
      defaults.typicalP,
    ),
    option(
      "--repeat-penalty <x>",
      "divide logits of seen tokens; 1 = off",
      numberBetween(1e-6, 1e6),
      defaults.repeatPenalty,
    ),
    option(
      "--repeat-last-n <n>",
      "how far penalties look back; -1 = all",
      wholeNumber(-1),
      defaults.repeatLastN,
    ),
    option(
      "--presence-penalty <x>",
      "taken from seen tokens' logits; 0 = off",
      penalty,
      0,
    ),
    option(
      "--frequency-penalty <x>",
      "taken for each time a token was seen; 0 = off",
      penalty,
      0,
    ),
    option(
      "--xtc-probability <p>",
      "how often the top choices are excluded; 0 = off",
      share,
      0,
    ),
    option(
      "--xtc-threshold <p>",
      "how likely top choices are",
      share,
      defaults.xtcThreshold,
    ),
    option(
      "--dry-multiplier <x>",
      "penalty on repeated passages; 0 = off",
      numberBetween(0, 1e6),
      0,
    ),
    option(
      "--dry-base <x>",
      "its growth with each token",
      numberBetween(1, 1e6),
      defaults.dryBase,
    ),
    option(
      "--dry-allowed-length <n>",
      "longest passage without it",
      wholeNumber(0),
      defaults.dryAllowedLength,
    ),
    option(
      "--dry-penalty-last-n <n>",
      "how far it looks back; -1 = all",
      wholeNumber(-1),
      -1,
    ),
    option(
      "--dry-sequence-breaker <text>",
      'where passages end; may be repeated (default: \\n : " *)',
      texts,
    ),
    option(
      "--samplers <order>",
      "what is applied, in this order",
      parseSamplers,
    )
      .default(defaults.samplers, defaults.samplers.join(";")),
    option(
      "-l, --logit-bias <bias>",
      "ID+BIAS or ID-BIAS; may be repeated",
      logitBiases,
    ),
  ),
];

/** What the flags ask of generating; ids that a tokenizer must know are found with it. */
export function generateOptionsOf(
  flags: SamplingFlags,
  tokenizer: Tokenizer,
): GenerateOptions {
  return {
    ...chainOf(flags),
    dryBreakers: flags.dryMultiplier > 0
      ? tokensContaining(
        flags.drySequenceBreaker ?? dryBreakers,
        tokenizer.vocabSize,
        (id) => decoder.decode(tokenizer.pieceBytes(id)),
      )
      : [],
    maxTokens: flags.predict,
    stop: [...flags.reversePrompt ?? [], ...flags.stop ?? []],
    ignoreEos: flags.ignoreEos,
  };
}

const decoder = new TextDecoder();

function chainOf(flags: SamplingFlags): SamplingOptions {
  return {
    temperature: flags.temp,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    typicalP: flags.typical,
    repeatPenalty: flags.repeatPenalty,
    repeatLastN: flags.repeatLastN,
    presencePenalty: flags.presencePenalty,
    frequencyPenalty: flags.frequencyPenalty,
    xtcProbability: flags.xtcProbability,
    xtcThreshold: flags.xtcThreshold,
    dryMultiplier: flags.dryMultiplier,
    dryBase: flags.dryBase,
    dryAllowedLength: flags.dryAllowedLength,
    dryPenaltyLastN: flags.dryPenaltyLastN,
    samplers: flags.samplers,
    logitBias: new Map(flags.logitBias),
    seed: flags.seed,
  };
}

/** Where a text comes from. */
export interface PromptFlags {
  readonly prompt?: string;
  readonly file?: string;
  readonly escape: boolean;
}

/** Options that give {@linkcode PromptFlags}. */
export const promptOptions: readonly Option[] = group(
  "Prompt",
  option("-p, --prompt <text>", "the text; escapes such as \\n are read"),
  option("-f, --file <file>", "a file with the text; - = standard input"),
  option("--no-escape", "take -p as it is"),
);
