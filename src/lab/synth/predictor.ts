/**
 * An activation predictor of a given rank and recall: `fc2 · relu(fc1 · x)` is
 * a neuron's product with the signal, plus its firing offset and a margin.
 *
 * A ReLU cuts negative values off, so a channel of the signal takes two rows
 * of `fc1`, one for each sign. The rows that a rank has beyond the signal are
 * zero: they cost what others cost, and say nothing.
 */
import { UsageError } from "../../errors.ts";
import { quantise } from "../../formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes } from "../../formats/ggml/types.ts";
import { type LayerNeurons, type Neurons, signalOf } from "./neurons.ts";
import {
  constantChannels,
  type PredictorOptions,
  signalChannels,
} from "./options.ts";
import type { FillRow } from "./rows.ts";

/** The least rank: the constant, and one block of signal. */
const leastRank = 64;

/** Makes the rows of `fc1` and `fc2`. */
export class Predictor {
  /** Rows of `fc1` */
  readonly rank: number;
  readonly #channels: number;
  readonly #margin: number;

  /**
   * Chooses the margin.
   *
   * @throws {UsageError} for a rank or a recall out of range
   */
  constructor(
    { rank, recall }: PredictorOptions,
    neurons: Neurons,
    readonly type: GgmlType,
  ) {
    const { blockSize } = ggmlTypes[type];
    if (!(rank >= leastRank && rank % blockSize === 0)) {
      throw new UsageError(
        `Cannot make a predictor of rank ${rank}: needs ${leastRank} or more, and a multiple of ${blockSize}`,
      );
    }
    if (!(recall > 0 && recall < 1)) {
      throw new UsageError(
        `Cannot make a predictor of recall ${recall}: needs a number above 0, below 1`,
      );
    }
    this.rank = rank;
    this.#channels = Math.min(
      signalChannels,
      Math.floor((rank - constantChannels) / 2),
    );
    this.#margin = neurons.predictorMargin(this.#channels, recall);
  }

  /** Row i of `fc1` reads one channel: a constant one, or one of the signal. */
  fc1(): FillRow {
    const used = constantChannels + 2 * this.#channels;
    return (row, target) => {
      if (row >= used) return;
      const weights = this.#blocks(constantChannels + signalChannels);
      const negative = row >= constantChannels + this.#channels;
      weights[negative ? row - this.#channels : row] = negative ? -1 : 1;
      target.set(quantise(this.type, weights));
    };
  }

  /** Row j of `fc2` is neuron j's. */
  fc2(layer: LayerNeurons): FillRow {
    const channels = this.#channels;
    const weights = this.#blocks(constantChannels + 2 * channels);
    return (row, target) => {
      const constant = layer.firingOffset[row] + this.#margin;
      const signal = signalOf(layer, row).subarray(0, channels);
      weights.fill(constant / constantChannels, 0, constantChannels);
      weights.set(signal, constantChannels);
      weights.set(signal.map((weight) => -weight), constantChannels + channels);
      target.set(quantise(this.type, weights));
    };
  }

  /** Room for weights, in whole blocks. */
  #blocks(length: number): Float32Array {
    const { blockSize } = ggmlTypes[this.type];
    return new Float32Array(Math.ceil(length / blockSize) * blockSize);
  }
}
