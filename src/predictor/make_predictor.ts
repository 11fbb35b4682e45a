/**
 * A predictor for a model that has none, made without training: a map of low
 * rank that says nearly what a neuron's rows of gate and up would say.
 *
 * A neuron of dReLU fires where gate · x and up · x are both positive, which a
 * linear map tells best from the sum of the two rows, each of unit length; one
 * of ReGLU fires where gate · x is positive. From what score on a neuron is
 * asked for is chosen on tokens that the map was not made from.
 *
 * @module
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { LimitError, UnsupportedError, UsageError } from "../errors.ts";
import { dequantise } from "../formats/ggml/dequantise.ts";
import { quantise } from "../formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import type { TensorToWrite } from "../formats/gguf/write.ts";
import { isSparse, type Model } from "../model/model.ts";
import { loadKernels } from "../places/cpu/kernels.ts";
import { instantiate, WasmMemory } from "../places/cpu/memory.ts";
import { PackedMatrix, type Staging } from "../places/cpu/matrix.ts";
import { packedKind } from "../places/cpu/packing.ts";
import { stagingBytes } from "../places/cpu/weights.ts";
import { readRows } from "../places/slices.ts";
import { Turns } from "../places/turns.ts";
import { Random } from "../sampling/random.ts";
import { Dense } from "./dense.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { LowRank } from "./low_rank.ts";
import type { PredictorToWrite } from "./predictor_file.ts";
import type { States } from "./states.ts";

/** What is asked of a predictor, and how its making is watched and stopped. */
export interface MakePredictorOptions {
  /** Numbers that it takes an input down to; more say more, and cost more. Default: {@linkcode defaultRank}. */
  readonly rank?: number;
  /** The share of the neurons that fire which it must ask for, above 0 and below 1. Default 0.99. */
  readonly recall?: number;
  /** Told how many layers are done. */
  readonly onLayer?: (done: number, total: number) => void;
  /** Stops the work. */
  readonly signal?: AbortSignal;
}

/** Every so many tokens, one is left to choose the threshold by. */
const heldOutEvery = 8;
/** The fewest tokens that are worth the work. */
const leastTokens = 64;

/** A 16th of the residual's width, 64 at least: asking then takes some 3% of what computing gate and up takes. */
export function defaultRank({ hiddenSize }: Model): number {
  const wanted = Math.max(64, Math.round(hiddenSize / 16 / 32) * 32);
  return Math.min(hiddenSize, wanted);
}

/**
 * Makes a predictor of every layer.
 *
 * @throws {UnsupportedError} for a model whose neurons are never zero
 * @throws {UsageError} for a rank or a recall out of range, or too short a text
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
  const { rank = defaultRank(model), recall = 0.99, onLayer, signal } = options;
  checkPredictorOptions(model, rank, recall);
  if (states.tokens < leastTokens) {
    throw new UsageError(
      `Cannot make a predictor from ${states.tokens} tokens: needs ${leastTokens} or more`,
    );
  }
  const maker = await LayerMaker.create(model, states, rank, recall, signal);
  const thresholds: number[] = [];
  const tensors: TensorToWrite[] = [];
  for (let layer = 0; layer < model.layers.length; layer++) {
    const made = await maker.make(layer, source);
    thresholds.push(made.threshold);
    tensors.push(...made.tensors);
    onLayer?.(layer + 1, model.layers.length);
  }
  return {
    fingerprint: await fingerprintOf(model, source),
    thresholds,
    recall,
    tokens: states.tokens,
    tensors,
  };
}

/**
 * Checks what {@linkcode makePredictor} is asked for, before any text is run.
 *
 * @throws {UnsupportedError} for a model whose neurons are never zero
 * @throws {UsageError} for a rank or a recall out of range
 */
export function checkPredictorOptions(
  model: Model,
  rank: number,
  recall: number,
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
}

/** Makes one layer after another in the same memory. */
class LayerMaker {
  readonly #memory: WasmMemory;
  readonly #weights: Dense;
  readonly #sums: Dense;
  readonly #lowRank: LowRank;
  /** Tokens that the map is made from, and those that are held out */
  readonly #x: Dense;
  readonly #heldOut: Dense;
  /** `[held-out tokens, feedForwardSize]` */
  readonly #scores: Dense;
  readonly #project: Dense;
  readonly #rows: Dense;
  readonly #z: Dense;
  readonly #turns = new Turns();
  readonly #staging: Staging;

  private constructor(
    memory: WasmMemory,
    readonly model: Model,
    readonly states: States,
    readonly rank: number,
    readonly recall: number,
    readonly signal?: AbortSignal,
  ) {
    const { hiddenSize, feedForwardSize } = model;
    const dense = (rows: number, columns: number) =>
      new Dense(memory, rows, columns);
    const heldOut = Math.floor(states.tokens / heldOutEvery);
    this.#memory = memory;
    const bytes = Math.max(stagingBytes, 4 * hiddenSize); // a row of any type at least
    this.#staging = { pointer: memory.allocate(bytes), bytes };
    this.#weights = dense(feedForwardSize, hiddenSize);
    this.#sums = dense(feedForwardSize, hiddenSize);
    this.#x = dense(states.tokens - heldOut, hiddenSize);
    this.#heldOut = dense(heldOut, hiddenSize);
    this.#scores = dense(heldOut, feedForwardSize);
    this.#lowRank = new LowRank(memory, this.#sums, this.#x, rank);
    this.#project = dense(rank, hiddenSize);
    this.#rows = dense(feedForwardSize, rank);
    this.#z = dense(heldOut, rank);
  }

  static async create(
    model: Model,
    states: States,
    rank: number,
    recall: number,
    signal?: AbortSignal,
  ): Promise<LayerMaker> {
    const { module } = await loadKernels();
    const memory = new WasmMemory(instantiate(module));
    try {
      return new LayerMaker(memory, model, states, rank, recall, signal);
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      throw new LimitError(
        `Cannot make a predictor of rank ${rank} from ${states.tokens} tokens: a layer of ${model.feedForwardSize} neurons of ${model.hiddenSize} weights does not fit a WASM memory of 4 GiB`,
      );
    }
  }

  async make(layer: number, source: ByteSource) {
    this.#loadStates(layer);
    const fires = await this.#loadSums(layer, source);
    const pause = () => this.#pause();
    await this.#lowRank.factorise(new Random(layer), pause);
    const { hiddenSize, feedForwardSize } = this.model;
    const tensors = [
      stored(
        `blk.${layer}.fc1.weight`,
        "Q8_0",
        [hiddenSize, this.rank],
        this.#project,
        (i) => this.#lowRank.project.row(i),
      ),
      stored(
        `blk.${layer}.fc2.weight`,
        "Q4_0",
        [this.rank, feedForwardSize],
        this.#rows,
        columnsOf(this.#lowRank.rows, this.rank),
      ),
    ];
    await pause();
    return { tensors, threshold: this.#threshold(fires) };
  }

  /** Lets Ctrl-C be heard. */
  async #pause(): Promise<void> {
    await this.#turns.give();
    this.signal?.throwIfAborted();
  }

  #loadStates(layer: number): void {
    const { hiddenSize } = this.model;
    const values = this.states.layers[layer];
    let made = 0, held = 0;
    for (let t = 0; t < this.states.tokens; t++) {
      const state = values.subarray(t * hiddenSize, (t + 1) * hiddenSize);
      const isHeldOut = t % heldOutEvery === heldOutEvery - 1;
      if (isHeldOut) this.#heldOut.row(held++).set(state);
      else this.#x.row(made++).set(state);
    }
  }

  /** Fills `#sums`; gives which neurons of the held-out tokens fire, `[held-out tokens, feedForwardSize]`. */
  async #loadSums(layer: number, source: ByteSource): Promise<Uint8Array> {
    const { model } = this;
    const { ffn_gate, ffn_up } = model.layers[layer];
    const fires = new Uint8Array(this.#heldOut.rows * model.feedForwardSize);
    fires.fill(1);
    this.#memory.clear(this.#sums.pointer, this.#sums.rows * this.#sums.stride);
    const tensors = model.activation === "drelu"
      ? [ffn_gate, ffn_up]
      : [ffn_gate];
    for (const tensor of tensors) {
      await this.#load(tensor, source);
      await this.#pause();
      this.#weights.times(this.#heldOut, this.#scores);
      for (let t = 0; t < this.#scores.rows; t++) {
        this.#scores.row(t).forEach((value, j) => {
          if (!(value > 0)) fires[t * model.feedForwardSize + j] = 0;
        });
      }
      await this.#pause();
      addUnitRows(this.#weights, this.#sums);
    }
    return fires;
  }

  /** Reads a tensor's weights as f32. */
  async #load(tensor: TensorInfo, source: ByteSource): Promise<void> {
    const { rows, columns, pointer, stride } = this.#weights;
    const slice = {
      tensor,
      rows: { start: 0, end: rows },
      columns: { start: 0, end: columns },
    };
    const kind = packedKind.f32;
    const room = { pointer, stride: 4 * stride, kind };
    const matrix = new PackedMatrix(this.#memory, slice, undefined, room);
    for await (const read of readRows(source, slice)) {
      matrix.write(read, this.#staging);
    }
  }

  /** The score that the asked share of the neurons that fire reaches, by the weights as they are stored. */
  #threshold(fires: Uint8Array): number {
    this.#project.times(this.#heldOut, this.#z);
    this.#rows.times(this.#z, this.#scores);
    const { feedForwardSize } = this.model;
    const scores: number[] = [];
    for (let t = 0; t < this.#scores.rows; t++) {
      this.#scores.row(t).forEach((score, j) => {
        if (fires[t * feedForwardSize + j]) scores.push(score);
      });
    }
    return thresholdOf(Float32Array.from(scores), this.recall);
  }
}

/**
 * The largest threshold that at least the share `recall` of the scores reaches;
 * Infinity where there are none.
 */
export function thresholdOf(scores: Float32Array, recall: number): number {
  const sorted = scores.toSorted();
  const missed = Math.floor((1 - recall) * sorted.length + 1e-9);
  return sorted.length > 0 ? sorted[missed] : Infinity;
}

/** Stores a matrix row by row as `type`, or as F16 where its blocks do not fit; `kept` takes what the file will say. */
function stored(
  name: string,
  type: GgmlType,
  shape: [columns: number, rows: number],
  kept: Dense,
  rowOf: (index: number) => Float32Array,
): TensorToWrite {
  const [columns, rows] = shape;
  const fitting = columns % ggmlTypes[type].blockSize === 0 ? type : "F16";
  const parts: Uint8Array[] = [];
  for (let i = 0; i < rows; i++) {
    const bytes = quantise(fitting, rowOf(i));
    dequantise(fitting, bytes, kept.row(i));
    parts.push(bytes);
  }
  const data = new Uint8Array(parts.length * parts[0].length);
  parts.forEach((part, i) => data.set(part, i * part.length));
  return { name, type: fitting, shape, data };
}

/** Column j of a matrix's first `count` rows, as a row. */
function columnsOf(
  matrix: Dense,
  count: number,
): (j: number) => Float32Array {
  const rows = Array.from({ length: count }, (_, i) => matrix.row(i));
  return (j) => Float32Array.from(rows, (row) => row[j]);
}

/** sums += weights, each row scaled to unit length. */
function addUnitRows(weights: Dense, sums: Dense): void {
  for (let j = 0; j < weights.rows; j++) {
    const row = weights.row(j), sum = sums.row(j);
    let squares = 0;
    for (const value of row) squares += value * value;
    const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let i = 0; i < row.length; i++) sum[i] += scale * row[i];
  }
}
