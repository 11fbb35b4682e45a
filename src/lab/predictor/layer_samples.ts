import type { ByteSource } from "../../bytes/byte_source.ts";
import type { TensorInfo } from "../../formats/gguf/read.ts";
import type { Model } from "../../model/model.ts";
import { PackedMatrix, type Staging } from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { packedKind } from "../../kernels/packing.ts";
import { stagingBytes } from "../../places/cpu/weights.ts";
import { readRows } from "../../model/shard.ts";
import type { Random } from "../../random.ts";
import { Dense } from "./dense.ts";

/** The share of the text, at its end, by which thresholds are chosen: as far from the rest as another text is, or nearly. */
const heldOutShare = 1 / 8;
/** Inputs whose neurons are computed at a time. */
const step = 256;

/** Inputs, and which neurons fire for each. */
export class Samples {
  /** `[inputs, hiddenSize]` */
  readonly x: Dense;
  /** Where a byte lies for each neuron of each input, `[inputs, neurons]`: 0 where it does not fire */
  readonly fires: number;

  /** Room for `inputs` of them. */
  constructor(
    readonly memory: WasmMemory,
    inputs: number,
    hiddenSize: number,
    readonly neurons: number,
  ) {
    this.x = new Dense(memory, inputs, hiddenSize);
    this.fires = memory.allocate(inputs * neurons);
  }

  /** The bytes of input t; valid until memory grows. */
  firesAt(t: number): Uint8Array {
    const first = this.fires + t * this.neurons;
    return this.memory.bytes.subarray(first, first + this.neurons);
  }
}

/** One layer after another in the same memory. */
export class LayerSamples {
  /** Tokens of the text, and mixtures of them after those */
  readonly examples: Samples;
  /** How many of the examples are tokens */
  readonly tokens: number;
  readonly heldOut: Samples;
  /**
   * `[feedForwardSize, hiddenSize]`: the rows whose products must be positive
   * for a neuron to fire, each of unit length, added up
   */
  readonly sums: Dense;
  readonly #weights: Dense;
  /** `[step, feedForwardSize]` */
  readonly #products: Dense;
  readonly #staging: Staging;

  /** Room for a text's. Labels as many `examples`, if any are wanted; without, the tokens alone are there, unlabelled. */
  constructor(
    readonly memory: WasmMemory,
    readonly model: Model,
    tokens: number,
    readonly labelled: number,
  ) {
    const { hiddenSize, feedForwardSize } = model;
    const heldOut = Math.floor(tokens * heldOutShare);
    this.tokens = tokens - heldOut;
    const bytes = Math.max(stagingBytes, 4 * hiddenSize); // a row of any type at least
    this.#staging = { pointer: memory.allocate(bytes), bytes };
    const matrix = () => new Dense(memory, feedForwardSize, hiddenSize);
    this.#weights = matrix();
    this.sums = matrix();
    this.#products = new Dense(memory, step, feedForwardSize);
    const samples = (inputs: number, neurons = feedForwardSize) =>
      new Samples(memory, inputs, hiddenSize, neurons);
    this.heldOut = samples(heldOut);
    this.examples = labelled > 0
      ? samples(Math.max(labelled, this.tokens))
      : samples(this.tokens, 0);
  }

  /** Fills everything with a layer's, from its states; `pause` is awaited now and then. */
  async load(
    layer: number,
    states: Float32Array,
    source: ByteSource,
    random: Random,
    pause: () => Promise<void>,
  ): Promise<void> {
    const { model, sums, memory } = this;
    this.#loadStates(states);
    mix(this.examples.x, this.tokens, random);
    const labelled = this.labelled > 0
      ? [this.heldOut, this.examples]
      : [this.heldOut];
    for (const { fires, x, neurons } of labelled) {
      memory.bytes.fill(1, fires, fires + x.rows * neurons);
    }
    sums.clear();
    const { ffn_up } = model.layers[layer];
    const ffn_gate = model.layers[layer].ffn_gate!;
    const tensors = model.activation === "drelu"
      ? [ffn_gate, ffn_up]
      : [ffn_gate];
    for (const tensor of tensors) {
      await this.#read(tensor, source);
      await pause();
      for (const samples of labelled) await this.#label(samples, pause);
      addUnitRows(this.#weights, sums);
    }
  }

  #loadStates(states: Float32Array): void {
    const { hiddenSize } = this.model;
    for (let t = 0; t < this.tokens + this.heldOut.x.rows; t++) {
      const state = states.subarray(t * hiddenSize, (t + 1) * hiddenSize);
      const row = t < this.tokens
        ? this.examples.x.row(t)
        : this.heldOut.x.row(t - this.tokens);
      row.set(state);
    }
  }

  /** Reads a tensor's weights as f32. */
  async #read(tensor: TensorInfo, source: ByteSource): Promise<void> {
    const { rows, columns, pointer, stride } = this.#weights;
    const shard = {
      tensor,
      rows: { start: 0, end: rows },
      columns: { start: 0, end: columns },
    };
    const kind = packedKind.f32;
    const room = { pointer, stride: 4 * stride, kind };
    const matrix = new PackedMatrix(this.memory, shard, undefined, room);
    for await (const read of readRows(source, shard)) {
      matrix.write(read, this.#staging);
    }
  }

  /** No neuron fires whose product with the weights is not positive. */
  async #label(samples: Samples, pause: () => Promise<void>): Promise<void> {
    const { x } = samples;
    for (let first = 0; first < x.rows; first += step) {
      const count = Math.min(step, x.rows - first);
      this.#weights.times(x.part(first, count), this.#products);
      for (let i = 0; i < count; i++) {
        const products = this.#products.row(i);
        const fires = samples.firesAt(first + i);
        for (let j = 0; j < products.length; j++) {
          if (!(products[j] > 0)) fires[j] = 0;
        }
      }
      await pause();
    }
  }
}

/**
 * Fills the rows behind the first `tokens` with mixtures of two of those, each
 * taken after the mean: √(1 - λ) of the one and √λ of the other, λ anything
 * from 0 to 1, which keeps the mean and the second moment. A neuron's own
 * weights say whether it fires for any input, so a short text goes further
 * than its tokens.
 */
function mix(x: Dense, tokens: number, random: Random): void {
  const mean = meanOf(x.part(0, tokens));
  const any = () => Math.floor(random.next() * tokens);
  for (let t = tokens; t < x.rows; t++) {
    const a = x.row(t % tokens), b = x.row(any()), mixed = x.row(t);
    const lambda = random.next();
    const p = Math.sqrt(1 - lambda), q = Math.sqrt(lambda);
    for (let i = 0; i < mixed.length; i++) {
      mixed[i] = mean[i] + p * (a[i] - mean[i]) + q * (b[i] - mean[i]);
    }
  }
}

/** The mean of a matrix's rows. */
export function meanOf(matrix: Dense): Float64Array {
  const mean = new Float64Array(matrix.columns);
  for (let t = 0; t < matrix.rows; t++) {
    matrix.row(t).forEach((value, i) => mean[i] += value / matrix.rows);
  }
  return mean;
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
