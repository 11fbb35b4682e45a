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
  type LoadOptions,
  parseSparsity,
  type Sparsity,
} from "../mod.ts";
import { BadFlags, group, option } from "./option.ts";
import { numberBetween, oneOf, wholeNumber } from "./values.ts";

/** Which model. */
export interface ModelFlags {
  readonly model?: string;
}

/** Options that give {@linkcode ModelFlags}. */
export const modelOptions: readonly Option[] = group(
  "Model",
  option(
    "-m, --model <file>",
    "GGUF or PowerInfer file, its URL, or a Hugging Face folder; left out: the embedded tiny-bamboo",
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
  /** A file's name; `false`: none, also where there is one beside the model. */
  readonly predictor?: string | false;
}

/** The path of the model, where it is a local file. */
export function localModel({ model }: ModelFlags): string | undefined {
  return model === undefined || /^https?:\/\//.test(model) ? undefined : model;
}

const ctxSize = option(
  "-c, --ctx-size <n>",
  "positions of context; 0 = the model's",
  wholeNumber(0),
  0,
);
/** How many workers compute. */
export const threads = option(
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
    "share of each layer's neurons, hottest first, that is read without a test (default: measured)",
    numberBetween(0, 1),
  ),
];
const predictors = [
  option(
    "--predictor <file>",
    "what culm predictor made, for --sparsity predictor (default: MODEL.predictor, where there is one)",
  ),
  option("--no-predictor", "use the predictor in the model file"),
];
const cacheTypes = [
  option(
    "-ctk, --cache-type-k <type>",
    "how the KV cache is stored: f16, q8_0 (half the bytes) or f32; one of -ctk and -ctv sets both (default: f16)",
    oneOf("f16", "q8_0", "f32"),
  ),
  option("-ctv, --cache-type-v <type>", "as -ctk", oneOf("f16", "q8_0", "f32")),
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
    ...predictors,
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
    ...predictors,
    ...profiles,
    ...cacheTypes,
    activation,
  ),
];

/** What planning depends on; they give {@linkcode LoadFlags}, but for threads. */
export const planningOptions: readonly Option[] = group(
  "Running",
  ctxSize,
  batchSize,
  sparsity,
  option(
    "--profile <file>",
    "how often each neuron fires: a file of culm profile, or a folder of PowerInfer's activation_{i}.pt (default: MODEL.profile, where there is one)",
  ),
  option("--no-profile", "as if nobody had counted"),
  ...cacheTypes,
  activation,
);

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
