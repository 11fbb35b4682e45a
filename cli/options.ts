/**
 * The groups of flags that commands share, with llama.cpp's names, and what
 * they mean to the library.
 *
 * @module
 */
// @ts-types="../src/std/pick.d.ts"
import { pick } from "@std/collections/pick";
import {
  type CacheType,
  type LoadOptions,
  loadOptions,
  parseSparsity,
} from "../mod.ts";
import {
  BadFlags,
  type FlagsOf,
  type FlagSpec,
  type FlagTable,
} from "./option.ts";

/** Results for programs in place of tables for people. */
export const jsonFlag = {
  type: "boolean",
  flag: "--json",
  description: "print everything as JSON",
} as const satisfies FlagSpec;

/** Which model of the Hugging Face hub. */
export const hubOptions = {
  hfRepo: {
    type: "string",
    flag: "-hf, -hfr, --hf-repo <repo>",
    description:
      "a model of the Hugging Face hub, OWNER/REPO[:QUANT], which is fetched where it is not in the cache",
  },
  hfFile: {
    type: "string",
    flag: "-hff, --hf-file <file>",
    description: "which file of -hf, in place of QUANT",
  },
  revision: {
    type: "string",
    flag: "--revision <name>",
    defaultText: "main",
    description: "branch, tag or commit of -hf",
  },
  offline: {
    type: "boolean",
    flag: "--offline",
    description: "take models of the hub from the cache alone",
  },
} as const satisfies FlagTable;

/** What {@linkcode hubOptions} give. */
export type HubFlags = FlagsOf<typeof hubOptions>;

/** Which model. */
export const modelOptions = {
  model: {
    type: "string",
    flag: "-m, --model <file>",
    defaultText: "the embedded tiny-bamboo",
    description:
      "GGUF or PowerInfer file, its URL, a Hugging Face folder, or hf:OWNER/REPO:QUANT of the hub",
  },
  ...hubOptions,
} as const satisfies FlagTable;

/** What {@linkcode modelOptions} give, once models of the hub are paths. */
export type ModelFlags = Pick<FlagsOf<typeof modelOptions>, "model">;

/** The path of the model, where it is a local file. */
export function localModel({ model }: ModelFlags): string | undefined {
  return model === undefined || /^(https?:\/\/|hf:)/.test(model)
    ? undefined
    : model;
}

const {
  contextSize,
  threads,
  batchSize,
  memoryBudget,
  activation,
  hotShare,
  screenHead,
} = loadOptions;
const { default: usualCacheType, ...cacheType } = loadOptions.cacheType;

const cacheTypes = {
  cacheTypeK: {
    ...cacheType,
    defaultText: usualCacheType,
  },
  cacheTypeV: {
    ...cacheType,
    defaultText: "as -ctk",
    flag: "-ctv, --cache-type-v <type>",
    description: "the same as -ctk",
  },
} as const satisfies FlagTable;

const sparsity = {
  ...loadOptions.sparsity,
  read: parseSparsity,
} as const;

const profile = {
  type: "string",
  flag: "--profile <file>",
  defaultText: "MODEL.profile, where there is one",
  description: "how often each neuron fires, as culm profile counts it",
  negative: {
    flag: "--no-profile",
    description: "keep the file's order of neurons",
  },
} as const;

/** What `inspect` needs to say what a model costs. */
export const memoryOptions = {
  contextSize,
  threads,
  batchSize,
  ...cacheTypes,
  activation,
} as const satisfies FlagTable;

/** How a model is held, by a command that sets its context itself. */
export const benchLoadOptions = {
  threads,
  batchSize,
  sparsity,
  predictor: {
    type: "string",
    flag: "--predictor <file>",
    defaultText: "MODEL.predictor, where there is one",
    description: "what culm predictor made, for --sparsity predictor",
    negative: {
      flag: "--no-predictor",
      description: "use the predictor in the model file",
    },
  },
  profile,
  hotShare,
  memoryBudget,
  ...cacheTypes,
  activation,
} as const satisfies FlagTable;

/** How a model is held that writes texts: what takes all logits reads all of the head. */
export const runOptions = {
  contextSize,
  ...benchLoadOptions,
  screenHead,
} as const satisfies FlagTable;

/** What {@linkcode modelOptions} and {@linkcode runOptions} give. */
export type LoadFlags = ModelFlags & FlagsOf<typeof runOptions>;

/** What planning depends on. */
export const planningOptions = {
  contextSize,
  batchSize,
  sparsity,
  profile: {
    ...profile,
    description:
      "how often each neuron fires: a file of culm profile, or a folder of PowerInfer's activation_{i}.pt",
    negative: {
      flag: "--no-profile",
      description: "as if nobody had counted",
    },
  },
  memoryBudget,
  ...cacheTypes,
  activation,
} as const satisfies FlagTable;

/** Tokens of a text that are run before the context is emptied. */
export const windowOption = {
  ...contextSize,
  minimum: 1,
  default: 512,
  description:
    "tokens of the text that are run one after another, before the context is emptied",
} as const;

/** Tokens of a text whose second half is scored. */
export const chunkOption = { ...windowOption, minimum: 4 } as const;

/** A text whose chunks are scored. */
export const scoredTextOptions = {
  file: {
    type: "string",
    flag: "-f, --file <file>",
    defaultText: "standard input",
    description: "the text; - = standard input",
  },
  contextSize: {
    ...chunkOption,
    description: "tokens of a chunk, of which the second half is scored",
  },
  chunks: {
    type: "integer",
    minimum: 1,
    defaultText: "all",
    flag: "--chunks <n>",
    description: "chunks to score",
  },
} as const satisfies FlagTable;

/** How a run that counts neurons goes. */
export const countingOptions = {
  contextSize: windowOption,
  threads,
  batchSize,
  activation,
} as const satisfies FlagTable;

/** The one type of the cache that two flags ask for. */
export function cacheTypeOf(
  { cacheTypeK, cacheTypeV }: Pick<LoadFlags, "cacheTypeK" | "cacheTypeV">,
): CacheType {
  if (cacheTypeK && cacheTypeV && cacheTypeK !== cacheTypeV) {
    throw new BadFlags(
      `Cannot store keys as ${cacheTypeK} and values as ${cacheTypeV}: both are stored in one type`,
    );
  }
  return cacheTypeK ?? cacheTypeV ?? usualCacheType;
}

/** What the flags ask of loading. */
export function loadOptionsOf(flags: LoadFlags): LoadOptions {
  const same = [
    "contextSize",
    "threads",
    "batchSize",
    "sparsity",
    "activation",
    "hotShare",
    "memoryBudget",
    "screenHead",
  ] as const;
  return { ...pick(flags, same), cacheType: cacheTypeOf(flags) };
}

/** Where a text comes from. */
export const promptOptions = {
  prompt: {
    type: "string",
    flag: "-p, --prompt <text>",
    description: "the text; escapes such as \\n are read",
  },
  file: {
    type: "string",
    flag: "-f, --file <file>",
    description: "a file with the text; - = standard input",
  },
  escape: {
    type: "boolean",
    default: true,
    flag: "--no-escape",
    description: "take -p, -r and --dry-sequence-breaker as they are",
  },
} as const satisfies FlagTable;

/** What {@linkcode promptOptions} give. */
export type PromptFlags = FlagsOf<typeof promptOptions>;
