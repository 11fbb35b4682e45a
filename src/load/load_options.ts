/**
 * How a model is loaded, and whether that is possible.
 *
 * @module
 */
import { LimitError, UsageError } from "../errors.ts";
import { type Activation, isSparse } from "../model/activation.ts";
import type { Model } from "../model/model.ts";
import type { ModelSource } from "./model_source.ts";
import { type CacheType, checkCacheType } from "../places/cache_type.ts";
import type { Progress } from "../places/load_progress.ts";
import type { GpuIndex } from "../plan/gpu_index.ts";
import type { PlacePlan } from "../plan/plan.ts";
import type { Profile } from "../plan/profile.ts";
import { checkSparsity, type Sparsity } from "../plan/sparsity.ts";
import { coreCount } from "../platform/threads.ts";

/** Whether a GPU takes part. */
export type GpuMode = "off" | "auto" | "require";

/** How a model is loaded. Everything may be left out. */
export interface LoadOptions {
  /** CPU threads; 0 computes in the caller's thread. Default: one for each core. */
  threads?: number;
  /** The most positions of a sequence; 0 = what the model was made for. Default 0. */
  contextSize?: number;
  /** The most tokens in one step. Default 128. */
  batchSize?: number;
  /** Which neurons are computed. Default `{ mode: "exact" }`. */
  sparsity?: Sparsity;
  /**
   * How keys and values are kept: as `f32`, `f16`, or in blocks of 8 bits,
   * `q8_0`, which take about half the bytes of f16; with tiny-bamboo, they
   * move a token's log-probability by 0.01. Default `f16`.
   */
  cacheType?: CacheType;
  /**
   * The most positions that are kept of all texts together, past ones included;
   * 0 = as many as memory holds. Default 0.
   */
  cacheSize?: number;
  /**
   * Keeps keys and values of past texts, as far as no other needs their room, so
   * that a text that begins alike is not evaluated again. A GPU's logits may
   * then differ in their last bits, the CPU's never do. Default true.
   */
  prefixCache?: boolean;
  /** A predictor that `culm predictor` made; sparsity `predictor` uses it in place of the file's own. */
  predictor?: ModelSource;
  /** Overrides the activation that the file implies. */
  activation?: Activation;
  /** Counts what a predictor misses, at the price of computing everything. Default false. */
  measureRecall?: boolean;
  /**
   * How often each neuron fires: each layer's are stored and read in that order.
   * Default: what the file says of it; `false`: nothing, and the file's order.
   */
  profile?: Profile | false;
  /**
   * The share of each layer's neurons, hottest first, that is read without
   * asking; needs a profile. Default: measured while loading.
   */
  hotShare?: number;
  /** Counts how often each neuron fires, for {@linkcode Engine.profile}. Default false. */
  countNeurons?: boolean;
  /** Keeps what each step's feed-forward layers read, for {@linkcode Engine.ffnInputs}. Default false. */
  keepFfnInputs?: boolean;
  /**
   * Whether a GPU takes part: `off`; `auto`, a real one where it is there and
   * the model is not small (256 MiB), and the CPU alone where it fails;
   * `require`, also one in software, and an error where it cannot. Counting and
   * measuring recall are the CPU's alone. Default `auto`.
   */
  gpu?: GpuMode;
  /** GiB that may be taken on the GPU; -1 = as much as there is. Default -1. */
  vramBudget?: number;
  /** Layers of which the GPU may hold anything; one more lets it hold the output head too. Default: all. */
  gpuLayers?: number;
  /** What the GPU holds of each layer's neurons, as PowerInfer's `.gpuidx` files say it. Default: planned. */
  gpuIndex?: GpuIndex;
  /** What the GPU holds, in place of everything that would be planned. */
  gpuPlan?: PlacePlan;
  /** Told in one line what goes on otherwise than asked: a GPU that is lost, for one. */
  onWarning?: (message: string) => void;
  /** Told how far loading has come. */
  onProgress?: (progress: Progress) => void;
  /** Stops loading. */
  signal?: AbortSignal;
}

const limits = {
  batchSize: 4096,
  contextSize: 1 << 20,
  cacheSize: 1 << 28,
  threads: 256,
};

const words = {
  gpu: ["auto", "off", "require"] satisfies GpuMode[] as string[],
  activation: ["drelu", "reglu", "swiglu"] satisfies Activation[] as string[],
};

/**
 * Checks options, and fills in defaults.
 *
 * @throws {UsageError} where one is out of range
 * @throws {LimitError} where one is beyond a limit
 */
export function checkOptions(options: LoadOptions) {
  const whole = (name: keyof typeof limits, fallback: number, least = 0) => {
    const value = options[name] ?? fallback;
    if (!Number.isInteger(value) || value < least) {
      throw new UsageError(
        `Cannot use ${name} ${value}: needs a whole number from ${least} up`,
      );
    }
    if (value > limits[name]) {
      throw new LimitError(
        `Cannot use ${name} ${value}: the limit is ${limits[name]}`,
      );
    }
    return value;
  };
  for (const [name, known] of Object.entries(words)) {
    const word = options[name as keyof typeof words] ?? known[0];
    if (known.includes(word)) continue;
    throw new UsageError(
      `Cannot use ${name} ${word}: needs one of ${known.join(", ")}`,
    );
  }
  const { hotShare } = options;
  if (hotShare !== undefined && !(hotShare >= 0 && hotShare <= 1)) {
    throw new UsageError(
      `Cannot use hotShare ${hotShare}: needs a number from 0 to 1`,
    );
  }
  const { vramBudget = -1 } = options;
  if (!(vramBudget >= -1)) {
    throw new UsageError(
      `Cannot use vramBudget ${vramBudget}: needs a number of GiB, or -1`,
    );
  }
  return {
    gpuBytes: vramBudget < 0 ? undefined : Math.floor(vramBudget * 2 ** 30),
    threads: whole("threads", coreCount()),
    contextSize: whole("contextSize", 0),
    cacheSize: whole("cacheSize", 0),
    batchSize: whole("batchSize", 128, 1),
    sparsity: checkSparsity(options.sparsity ?? { mode: "exact" }),
    cacheType: checkCacheType(options.cacheType ?? "f16"),
    hotShare,
  };
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
