import { workerCount } from "../../platform/threads.ts";
import type { ByteSource } from "../../bytes/byte_source.ts";
import { LimitError, UnsupportedError, UsageError } from "../../errors.ts";
import { isSparse } from "../../model/activation.ts";
import type { Model } from "../../model/model.ts";
import {
  fingerprintOf,
  type PredictorToWrite,
} from "../../model/predictor_file.ts";
import { type MakeLayer, startMakers } from "./layer_makers.ts";
import type {
  MadeLayer,
  OnTrainingStep,
  PredictorPlan,
} from "./predictor_plan.ts";
import type { States } from "./ffn_inputs.ts";
import { batchSize } from "./training.ts";

/** What is required of a predictor, and how its making is watched and stopped. */
export interface MakePredictorOptions {
  /**
   * Numbers that it takes an input down to; more say more, and cost more.
   * Default: {@linkcode defaultRank}, or for a trained one what reads the fewest
   * bytes, by layer.
   */
  readonly rank?: number;
  /** The share of the neurons that fire which it must select, above 0 and below 1. Default 0.99. */
  readonly recall?: number;
  /** Whether it is trained, and how. Default: it is not. */
  readonly training?: TrainingOptions;
  /** The first layers, as the same work made them before it was stopped. Default: none. */
  readonly made?: readonly MadeLayer[];
  /** Given each layer that is made, and told how many are done; awaited. */
  readonly onLayer?: (
    layer: MadeLayer,
    done: number,
    total: number,
  ) => void | Promise<void>;
  /**
   * Workers that make a layer each, fewer where they would take more than about
   * 8 GiB; 0: the caller's thread. The predictor is the same. Default: one for
   * each core.
   */
  readonly threads?: number;
  /** Stops the work. */
  readonly signal?: AbortSignal;
}

/** How a predictor is trained. Everything may be left out. */
export interface TrainingOptions {
  /** Inputs that it is trained on: the text's tokens, and mixtures of them where those are fewer. Default 32768. */
  readonly examples?: number;
  /** Times that each of them is seen. Default 5. */
  readonly epochs?: number;
  /** Given each step of a layer. */
  readonly onStep?: OnTrainingStep;
}

/** The fewest tokens that are worth the work. */
const leastTokens = 64;
const defaultRecall = 0.99, defaultExamples = 32768, defaultEpochs = 5;

/** A 16th of the residual's width, 64 at least: asking then takes some 3% of what computing gate and up takes. */
export function defaultRank({ hiddenSize }: Model): number {
  const wanted = Math.max(64, Math.round(hiddenSize / 16 / 32) * 32);
  return Math.min(hiddenSize, wanted);
}

/**
 * Makes a predictor of every layer.
 *
 * @throws {UnsupportedError} for a model whose neurons are never zero, or have biases
 * @throws {UsageError} for a number out of range, or too short a text
 * @throws {LimitError} where a layer does not fit one WASM memory
 *
 * @example
 * ```ts ignore
 * const states = await collectStates(model.engine, model.model, [ids]);
 * const made = await makePredictor(model.model, source, states);
 * await Deno.writeFile("model.gguf.predictor", await toBuffer(writePredictor(made)));
 * ```
 */
export async function makePredictor(
  model: Model,
  source: ByteSource,
  states: States,
  options: MakePredictorOptions = {},
): Promise<PredictorToWrite> {
  checkPredictorOptions(model, options);
  if (states.tokens < leastTokens) {
    throw new UsageError(
      `Cannot make a predictor from ${states.tokens} tokens: needs ${leastTokens} or more`,
    );
  }
  const plan = planOf(model, states, options);
  const layers = await makeLayers(plan, source, states, options).catch(
    (error) => {
      if (!(error instanceof LimitError)) throw error;
      throw new LimitError(
        `Cannot make a predictor from ${states.tokens} tokens: a layer of ${model.feedForwardSize} neurons of ${model.hiddenSize} weights does not fit a WASM memory of 4 GiB`,
        { cause: error },
      );
    },
  );
  return {
    fingerprint: await fingerprintOf(model, source),
    form: plan.training ? "relu" : "linear",
    thresholds: layers.map(({ threshold }) => threshold),
    recall: plan.recall,
    tokens: states.tokens,
    tensors: layers.flatMap(({ tensors }) => tensors),
  };
}

/** All layers, by several makers where there are any: given on in their order. */
async function makeLayers(
  plan: PredictorPlan,
  source: ByteSource,
  states: States,
  { made: before = [], threads, onLayer, signal, training }:
    MakePredictorOptions,
): Promise<MadeLayer[]> {
  const made = [...before], total = plan.model.layers.length;
  let next = made.length;
  if (next === total) return made;
  const stop = new AbortController();
  const makers = await startMakers(
    Math.min(workerCount(threads), total - next),
    plan,
    source,
    states,
    AbortSignal.any([stop.signal, ...signal ? [signal] : []]),
    training?.onStep,
  );
  const waiting: MadeLayer[] = [];
  const give = async () => {
    for (let layer; (layer = waiting[made.length]) !== undefined;) {
      signal?.throwIfAborted();
      made.push(layer);
      await onLayer?.(layer, made.length, total);
    }
  };
  let given = Promise.resolve();
  const run = async (make: MakeLayer) => {
    while (next < total) {
      const layer = next++;
      waiting[layer] = await make(layer);
      await (given = given.then(give));
    }
  };
  try {
    await Promise.all(makers.map(run));
    return made;
  } finally {
    stop.abort();
  }
}

function planOf(
  model: Model,
  { tokens }: States,
  { rank, recall = defaultRecall, training }: MakePredictorOptions,
): PredictorPlan {
  const { examples = defaultExamples, epochs = defaultEpochs } = training ?? {};
  return {
    model,
    tokens,
    rank: rank ?? defaultRank(model),
    isFixed: rank !== undefined,
    recall,
    training: training && { examples, epochs },
  };
}

/**
 * Checks what {@linkcode makePredictor} is given, before any text is run.
 *
 * @throws {UnsupportedError} for a model whose neurons are never zero, or have biases
 * @throws {UsageError} for a number out of range
 */
export function checkPredictorOptions(
  model: Model,
  { rank = defaultRank(model), recall = defaultRecall, training, threads }:
    MakePredictorOptions,
): void {
  workerCount(threads);
  if (!isSparse(model.activation)) {
    throw new UnsupportedError(
      `Cannot make a predictor for a model of activation ${model.activation}: its neurons are never zero`,
    );
  }
  if (model.layers.some((layer) => layer.ffn_gate_bias ?? layer.ffn_up_bias)) {
    throw new UnsupportedError(
      "Cannot make a predictor for this model: its neurons have biases",
    );
  }
  const isPlain = model.norm === "rms" && model.gateThreshold === 0 &&
    model.layers.every((layer) => layer.ffn_norm && layer.ffn_gate);
  if (!isPlain) {
    throw new UnsupportedError(
      "Cannot make a predictor for this model: only gates of an RMS-normed residual that have to be positive can be foretold",
    );
  }
  const most = Math.min(model.hiddenSize, model.feedForwardSize);
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= most)) {
    throw new UsageError(
      `Cannot make a predictor of rank ${rank}: needs a whole number from 1 to ${most}`,
    );
  }
  if (!(recall > 0 && recall < 1)) {
    throw new UsageError(
      `Cannot make a predictor of recall ${recall}: needs a number above 0, below 1`,
    );
  }
  const { examples = defaultExamples, epochs = defaultEpochs } = training ?? {};
  if (!(Number.isInteger(examples) && examples >= batchSize)) {
    throw new UsageError(
      `Cannot train a predictor on ${examples} examples: needs a whole number from ${batchSize} up`,
    );
  }
  if (!(Number.isInteger(epochs) && epochs >= 1)) {
    throw new UsageError(
      `Cannot train a predictor for ${epochs} epochs: needs a whole number from 1 up`,
    );
  }
}
