/**
 * A predictor for a model that has none, made from a text: without training, or
 * trained.
 *
 * @module
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { LimitError, UnsupportedError, UsageError } from "../errors.ts";
import { isSparse, type Model } from "../model/model.ts";
import { loadKernels } from "../places/cpu/kernels.ts";
import { instantiate, WasmMemory } from "../places/cpu/memory.ts";
import { Turns } from "../places/turns.ts";
import { Random } from "../sampling/random.ts";
import { FactorisedLayers } from "./factorised.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { LayerSamples } from "./layer_samples.ts";
import type { PredictorToWrite } from "./predictor_file.ts";
import type { States } from "./states.ts";
import type { StoredTensor } from "./stored.ts";
import { TrainedLayers } from "./trained.ts";
import { batchSize } from "./training.ts";

/** What is asked of a predictor, and how its making is watched and stopped. */
export interface MakePredictorOptions {
  /**
   * Numbers that it takes an input down to; more say more, and cost more.
   * Default: {@linkcode defaultRank}, or for a trained one what reads the fewest
   * bytes, by layer.
   */
  readonly rank?: number;
  /** The share of the neurons that fire which it must ask for, above 0 and below 1. Default 0.99. */
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
  /** Stops the work. */
  readonly signal?: AbortSignal;
}

/** How a predictor is trained. Everything may be left out. */
export interface TrainingOptions {
  /** Inputs that it is trained on: the text's tokens, and mixtures of them where those are fewer. Default 32768. */
  readonly examples?: number;
  /** Times that each of them is seen. Default 5. */
  readonly epochs?: number;
  /** Told of each step of a layer: the rank that is tried, and what share of its training is done. */
  readonly onStep?: (layer: number, rank: number, done: number) => void;
}

/** Makes one layer after another of what its samples hold. */
export interface LayerMaker {
  /** The layer's predictor; `pause` is awaited now and then. */
  make(
    layer: number,
    random: Random,
    pause: () => Promise<void>,
  ): Promise<MadeLayer>;
}

/** A layer's predictor. */
export interface MadeLayer {
  /** Its fc1 and fc2 */
  readonly tensors: readonly StoredTensor[];
  /** From what score on it asks for a neuron */
  readonly threshold: number;
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
 * @throws {UnsupportedError} for a model whose neurons are never zero
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
  const { recall = defaultRecall, training } = options;
  checkPredictorOptions(model, options);
  if (states.tokens < leastTokens) {
    throw new UsageError(
      `Cannot make a predictor from ${states.tokens} tokens: needs ${leastTokens} or more`,
    );
  }
  const layers = await makeLayers(model, source, states, options).catch(
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
    form: training ? "relu" : "linear",
    thresholds: layers.map(({ threshold }) => threshold),
    recall,
    tokens: states.tokens,
    tensors: layers.flatMap(({ tensors }) => tensors),
  };
}

/** All layers, one after another in one memory. */
async function makeLayers(
  model: Model,
  source: ByteSource,
  states: States,
  options: MakePredictorOptions,
): Promise<MadeLayer[]> {
  const { onLayer, signal } = options;
  const turns = new Turns();
  const pause = async () => {
    if (turns.due) await turns.give();
    signal?.throwIfAborted();
  };
  const { module } = await loadKernels();
  const memory = new WasmMemory(instantiate(module));
  const { samples, maker } = prepare(memory, model, source, states, options);
  const made = [...options.made ?? []];
  while (made.length < model.layers.length) {
    const layer = made.length;
    const random = new Random(layer);
    await samples.load(layer, source, random, pause);
    made.push(await maker.make(layer, random, pause));
    await onLayer?.(made[layer], made.length, model.layers.length);
  }
  return made;
}

/** Room for a layer's samples, and what makes a predictor of them. */
function prepare(
  memory: WasmMemory,
  model: Model,
  source: ByteSource,
  states: States,
  { rank, recall = defaultRecall, training }: MakePredictorOptions,
): { samples: LayerSamples; maker: LayerMaker } {
  const first = rank ?? defaultRank(model);
  if (!training) {
    const samples = new LayerSamples(memory, model, states, 0);
    return { samples, maker: new FactorisedLayers(samples, first, recall) };
  }
  const { examples = defaultExamples, epochs = defaultEpochs, onStep } =
    training;
  const samples = new LayerSamples(memory, model, states, examples);
  const maker = new TrainedLayers(samples, source, {
    rank: first,
    isFixed: rank !== undefined,
    recall,
    epochs,
    onStep,
  });
  return { samples, maker };
}

/**
 * Checks what {@linkcode makePredictor} is asked for, before any text is run.
 *
 * @throws {UnsupportedError} for a model whose neurons are never zero
 * @throws {UsageError} for a number out of range
 */
export function checkPredictorOptions(
  model: Model,
  { rank = defaultRank(model), recall = defaultRecall, training }:
    MakePredictorOptions,
): void {
  if (!isSparse(model.activation)) {
    throw new UnsupportedError(
      `Cannot make a predictor for a model of activation ${model.activation}: its neurons are never zero`,
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
