/**
 * How a model is loaded, and whether that is possible.
 *
 * @module
 */
import * as v from "valibot";
import { UsageError } from "../errors.ts";
import { activationOption, isSparse } from "../model/activation.ts";
import type { Model } from "../model/model.ts";
import { type ModelSource, modelSource } from "./model_source.ts";
import {
  abortSignal,
  checkOptions,
  type OptionsOf,
  type SchemaOf,
} from "../options.ts";
import { cacheTypes } from "../places/cache_type.ts";
import { screenModes } from "../places/cpu/screen_choice.ts";
import type { Progress } from "../places/load_progress.ts";
import type { GpuIndex } from "../plan/gpu_index.ts";
import type { PlacePlan } from "../plan/plan.ts";
import type { Profile } from "../plan/profile.ts";
import { type Sparsity, sparsitySchema } from "../plan/sparsity.ts";
import { coreCount, mostWorkers } from "../platform/threads.ts";

/** Whether a GPU takes part. */
export type GpuMode = "off" | "auto" | "require";

const gpuModes: readonly GpuMode[] = ["off", "auto", "require"];

/** How a model is loaded. */
export const loadOptions = {
  /** CPU threads; 0 computes in the caller's thread. Default: one for each core, and fewer while other work takes cores away. */
  threads: {
    type: "integer",
    minimum: 0,
    limit: mostWorkers,
    defaultText: "one for each core that is free",
    flag: "-t, --threads <n>",
    description: "threads; 0 = compute in the main thread",
  },
  /** The most positions of a sequence; 0 = what the model was made for. */
  contextSize: {
    type: "integer",
    minimum: 0,
    limit: 1 << 20,
    default: 0,
    flag: "-c, --ctx-size <n>",
    description: "positions of context; 0 = the model's",
  },
  /** The most tokens in one step. */
  batchSize: {
    type: "integer",
    minimum: 1,
    limit: 4096,
    default: 128,
    flag: "-b, --batch-size <n>",
    description: "most tokens in one step",
  },
  /** Which neurons are computed. Default `{ mode: "exact" }`. */
  sparsity: {
    schema: sparsitySchema as SchemaOf<Sparsity>,
    default: { mode: "exact" },
    defaultText: "exact",
    flag: "--sparsity <mode>",
    description:
      "neurons computed: dense, exact, predictor, predictor=SCORE, top-k=SHARE or threshold=VALUE",
  },
  /**
   * How keys and values are kept: as `f32`, `f16`, or in blocks of 8 bits,
   * `q8_0`, which take about half the bytes of f16; with tiny-bamboo, they
   * move a token's log-probability by 0.01. Default `f16`.
   */
  cacheType: {
    enum: cacheTypes as typeof cacheTypes,
    default: "f16",
    flag: "-ctk, --cache-type-k <type>",
    description:
      "how the KV cache is stored: f16, q8_0 (half the bytes) or f32; one of -ctk and -ctv sets both",
  },
  /**
   * The most positions that are kept of all texts together, past ones included;
   * 0 = as many as memory holds.
   */
  cacheSize: {
    type: "integer",
    minimum: 0,
    limit: 1 << 28,
    default: 0,
    description:
      "most positions kept of all texts together; 0 = as many as memory holds",
  },
  /**
   * Keeps keys and values of past texts, as far as no other needs their room, so
   * that a text that begins alike is not evaluated again. A GPU's logits may
   * then differ in their last bits, the CPU's never do. Default true.
   */
  prefixCache: {
    type: "boolean",
    default: true,
    description:
      "keep past texts, so that one that begins alike is not evaluated again",
  },
  /** A predictor that `culm predictor` made; sparsity `predictor` uses it in place of the file's own. */
  predictor: {
    schema: modelSource as SchemaOf<ModelSource>,
    defaultText: "the model file's own",
    description: "what culm predictor made, for sparsity predictor",
  },
  /** Overrides the activation that the file implies. */
  activation: activationOption as typeof activationOption,
  /** Counts what a predictor misses, at the price of computing everything. Default false. */
  measureRecall: {
    type: "boolean",
    default: false,
    description:
      "count what a predictor misses, at the price of computing everything",
  },
  /**
   * How often each neuron fires: each layer's are stored and read in that order.
   * Default: what the file says of it; `false`: nothing, and the file's order.
   */
  profile: {
    schema: v.custom(
      (value) => value === false || hasList(value, "layers"),
      "a profile, as readProfile gives it, or false",
    ) as SchemaOf<Profile | false>,
    defaultText: "the model file's own",
    description: "how often each neuron fires; false = keep the file's order",
  },
  /**
   * The share of each layer's neurons, hottest first, that is read without
   * asking; needs a profile. Default: measured while loading.
   */
  hotShare: {
    type: "number",
    minimum: 0,
    maximum: 1,
    defaultText: "measured",
    flag: "--hot <share>",
    description:
      "share of each layer's neurons, hottest first, that is read without a test",
  },
  /**
   * Whether the output head's rows are screened, where a text needs the largest
   * logits alone: read in 4 bits first, and again, exactly, where they may be among
   * the largest. The text is the same. `auto`: where that is faster; it takes
   * memory, six tenths of the head's.
   */
  screenHead: {
    enum: screenModes as typeof screenModes,
    defaultText: "auto",
    flag: "--screen-head <mode>",
    description:
      "read the output head in 4 bits first, and exactly what may be among the largest logits: auto (where that is faster), on or off; the text stays the same",
  },
  /** Counts how often each neuron fires, for `engine.profile()`. Default false. */
  countNeurons: {
    type: "boolean",
    default: false,
    description: "count how often each neuron fires, for engine.profile()",
  },
  /** Keeps what each step's feed-forward layers read, for `engine.ffnInputs`. Default false. */
  keepFfnInputs: {
    type: "boolean",
    default: false,
    description:
      "keep what each step's feed-forward layers read, for engine.ffnInputs",
  },
  /**
   * GiB that the model may take in memory: weights, keys and values of one
   * context, and scratch. Of a model in a local file, experts that do not fit are
   * read from there when a token chooses them, rows of neurons when a gate or a
   * predictor asks for them; the text is the same.
   * No GPU takes part then. Default: all weights are in memory.
   */
  memoryBudget: {
    type: "number",
    exclusiveMinimum: 0,
    defaultText: "what all weights take",
    flag: "--memory-budget <GiB>",
    description:
      "memory for weights, keys and values; experts and neurons that do not fit are read from the file when they are needed",
  },
  /**
   * Whether a GPU takes part: `off`; `auto`, a real one where it is there and
   * the model is not small (256 MiB), and the CPU alone where it fails;
   * `require`, also one in software, and an error where it cannot. Counting and
   * measuring recall are the CPU's alone. Default `auto`.
   */
  gpu: {
    enum: gpuModes as typeof gpuModes,
    default: "auto",
    flag: "--gpu <mode>",
    description:
      "off, auto (a real GPU, for models of 256 MiB or more) or require (also one in software, and an error where there is none)",
  },
  /** GiB that may be taken on the GPU; -1 = as much as there is. */
  vramBudget: {
    type: "number",
    minimum: -1,
    default: -1,
    flag: "--vram-budget <GiB>",
    description:
      "memory of the GPU that may be taken, keys and values included; -1 = all",
  },
  /** Layers of which the GPU may hold anything; one more lets it hold the output head too. Default: all. */
  gpuLayers: {
    type: "integer",
    minimum: 0,
    defaultText: "all",
    flag: "-ngl, --gpu-layers, --n-gpu-layers <n>",
    description:
      "most layers that have anything on the GPU; one more than there are takes the output head too",
  },
  /** What the GPU holds of each layer's neurons, as PowerInfer's `.gpuidx` files say it. Default: planned. */
  gpuIndex: {
    schema: v.custom(
      (value) => hasList(value, "layers"),
      "an index, as readGpuIndex gives it",
    ) as SchemaOf<GpuIndex>,
    defaultText: "planned",
    description: "which neurons go to the GPU",
  },
  /** What the GPU holds, in place of everything that would be planned. */
  gpuPlan: {
    schema: v.custom(
      (value) => hasList(value, "parts"),
      "the plan of a place",
    ) as SchemaOf<PlacePlan>,
    defaultText: "planned",
    description: "what the GPU holds",
  },
  /** Told in one line what goes on otherwise than asked: a GPU that is lost, for one. */
  onWarning: {
    schema: v.function("a function") as SchemaOf<(message: string) => void>,
    description: "told in one line what goes on otherwise than asked",
  },
  /** Told how far loading has come. */
  onProgress: {
    schema: v.function("a function") as SchemaOf<(progress: Progress) => void>,
    description: "told how far loading has come",
  },
  /** Stops loading. */
  signal: {
    schema: abortSignal as typeof abortSignal,
    description: "stops loading",
  },
} as const;

/** How a model is loaded. Everything may be left out; {@linkcode loadOptions} has ranges and defaults. */
export type LoadOptions = OptionsOf<typeof loadOptions>;

/** Whether a value has a list of that name. */
function hasList(value: unknown, name: string): boolean {
  return Array.isArray((value as Record<string, unknown> | null)?.[name]);
}

/**
 * Checks options, and fills in defaults.
 *
 * @throws {UsageError} where there is no option of a name, or it is not what it may be
 * @throws {LimitError} where one is beyond a limit
 */
export function checkLoadOptions(options: LoadOptions) {
  const checked = checkOptions("load", loadOptions, options);
  const { threads = coreCount(), vramBudget, gpu, gpuLayers } = checked;
  if (gpu === "require" && gpuLayers === 0) {
    throw new UsageError("Cannot require a GPU that takes 0 layers");
  }
  const gpuBytes = vramBudget < 0
    ? undefined
    : Math.floor(vramBudget * 2 ** 30);
  const memoryBudget = checked.memoryBudget === undefined
    ? undefined
    : Math.floor(checked.memoryBudget * 2 ** 30);
  if (gpu === "require" && memoryBudget !== undefined) {
    throw new UsageError(
      "Cannot use a GPU with a memory budget: only the CPU reads weights from the file",
    );
  }
  return { ...checked, threads, gpuBytes, memoryBudget };
}

/**
 * A predictor is there where one is wanted, and wanted where one is given.
 *
 * @throws {UsageError} where it is not
 */
export function checkPredictor(
  { layers, activation }: Model,
  { mode }: Sparsity,
  isGiven: boolean,
): void {
  if (mode !== "predictor") {
    if (!isGiven) return;
    throw new UsageError(
      `Cannot use a predictor with sparsity ${mode}: it needs sparsity predictor`,
    );
  }
  if (!isSparse(activation)) {
    throw new UsageError(
      `Cannot use sparsity predictor: neurons of activation ${activation} are never zero`,
    );
  }
  if (!layers.some((layer) => layer.fc1)) {
    throw new UsageError(
      "Cannot use sparsity predictor: the file has none (blk.N.fc1 and fc2, as in PowerInfer's files), and none that culm predictor made is given",
    );
  }
}
