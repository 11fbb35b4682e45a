/**
 * The tensors of a synthetic model. Their weights are made when they are read.
 *
 * @module
 */
import type { TensorToWrite } from "../../formats/gguf/write.ts";
import {
  constantChannels,
  Neurons,
  noiseOfRow,
  signalChannels,
  signalOf,
} from "./neurons.ts";
import type { SynthOptions } from "./options.ts";
import { Predictor } from "./predictor.ts";
import { direction, randomFor } from "./random.ts";
import {
  type FillRow,
  matrix,
  type RowHead,
  vector,
  withHead,
} from "./rows.ts";
import { Tiles } from "./tiles.ts";

/** Standard deviation of what all layers together add to a channel of the embedding, which has 1. */
const added = 0.1;
/**
 * The weights of the norms before attention and FFN. They shrink what comes out
 * of values and neurons, so that the matrices after them have weights of a usual
 * size: 16-bit scales must not become subnormal, which is slow.
 */
const normWeight = 1 / 16;

/** Makes the tensors. */
export class SynthTensors {
  readonly #neurons: Neurons;
  readonly #predictor?: Predictor;
  readonly #embedding: Tiles;
  readonly #unit: Tiles;
  readonly #attentionOutput: Tiles;
  readonly #noise: Tiles;
  readonly #down: Tiles;

  /**
   * Chooses what all tensors share.
   *
   * @throws {UsageError} for shares or a predictor out of reach
   */
  constructor(readonly options: SynthOptions) {
    const { shape, type, seed, active, predictor } = options;
    const { hiddenSize, feedForwardSize, layerCount } = shape;
    this.#neurons = new Neurons({ ...options, ...shape });
    if (predictor) {
      this.#predictor = new Predictor(predictor, this.#neurons, type);
    }
    const tiles = (use: string, deviation: number) =>
      new Tiles(type, deviation, seed, use);
    const noiseChannels = hiddenSize - constantChannels - signalChannels;
    // Attention and FFN of every layer add the same variance.
    const each = added / Math.sqrt(2 * layerCount);
    this.#embedding = tiles("embedding", 1);
    this.#unit = tiles("unit", 1 / Math.sqrt(hiddenSize));
    this.#attentionOutput = tiles(
      "attention",
      each / (normWeight * Math.sqrt(hiddenSize)),
    );
    this.#noise = tiles("noise", noiseOfRow / Math.sqrt(noiseChannels));
    this.#down = tiles(
      "down",
      each / (normWeight ** 2 * Math.sqrt(active * feedForwardSize)),
    );
  }

  /** All tensors, in llama.cpp's order. */
  list(): TensorToWrite[] {
    const { hiddenSize, vocabSize, layerCount } = this.options.shape;
    const layers = Array.from({ length: layerCount }, (_, i) => this.#layer(i));
    return [
      this.#headed("token_embd", vocabSize, this.#embedding, () => {
        const random = randomFor(this.options.seed, "embedding");
        const length = Math.sqrt(signalChannels);
        return () => ({
          constant: constantChannels,
          signal: direction(signalChannels, length, random),
        });
      }),
      ...layers.flat(),
      vector("output_norm", hiddenSize, 1),
      this.#random("output", vocabSize, this.#unit),
    ];
  }

  #layer(layer: number): TensorToWrite[] {
    const { hiddenSize, headCount, kvHeadCount } = this.options.shape;
    const kvSize = hiddenSize / headCount * kvHeadCount;
    const at = (name: string) => `blk.${layer}.${name}`;
    return [
      vector(at("attn_norm"), hiddenSize, normWeight),
      this.#random(at("attn_q"), hiddenSize, this.#unit),
      this.#random(at("attn_k"), kvSize, this.#unit),
      this.#random(at("attn_v"), kvSize, this.#unit),
      this.#random(at("attn_output"), hiddenSize, this.#attentionOutput),
      vector(at("ffn_norm"), hiddenSize, normWeight),
      this.#neuronRows(at("ffn_gate"), layer, "gateOffset"),
      this.#neuronRows(at("ffn_up"), layer, "upOffset"),
      this.#downOf(layer),
      ...this.#predictorOf(layer),
    ];
  }

  /** Rows of random weights, `[hiddenSize, rows]`. */
  #random(name: string, rows: number, tiles: Tiles): TensorToWrite {
    const { hiddenSize } = this.options.shape;
    return this.#matrix(
      name,
      [hiddenSize, rows],
      () => tiles.matrix(name, rows, hiddenSize),
    );
  }

  /** Random rows that begin with constant and signal, `[hiddenSize, rows]`. */
  #headed(
    name: string,
    rows: number,
    tiles: Tiles,
    heads: () => (row: number) => RowHead,
  ): TensorToWrite {
    const { type, seed, shape: { hiddenSize } } = this.options;
    return this.#matrix(name, [hiddenSize, rows], () =>
      withHead(
        type,
        tiles.matrix(name, rows, hiddenSize),
        tiles.deviation,
        randomFor(seed, `${name} head`),
        heads(),
      ));
  }

  #neuronRows(
    name: string,
    layer: number,
    offset: "gateOffset" | "upOffset",
  ): TensorToWrite {
    const { feedForwardSize } = this.options.shape;
    return this.#headed(name, feedForwardSize, this.#noise, () => {
      const neurons = this.#neurons.layer(layer);
      return (row) => ({
        constant: neurons[offset][row],
        signal: signalOf(neurons, row),
      });
    });
  }

  #downOf(layer: number): TensorToWrite {
    const { form, shape: { hiddenSize, feedForwardSize } } = this.options;
    const name = `blk.${layer}.ffn_down`;
    const sides = [name, feedForwardSize, hiddenSize] as const;
    return form === "llama"
      ? this.#matrix(
        name,
        [feedForwardSize, hiddenSize],
        () => this.#down.transposed(...sides),
      )
      : this.#matrix(
        `${name}_t`,
        [hiddenSize, feedForwardSize],
        () => this.#down.matrix(...sides),
      );
  }

  #predictorOf(layer: number): TensorToWrite[] {
    const predictor = this.#predictor;
    if (!predictor) return [];
    const { hiddenSize, feedForwardSize } = this.options.shape;
    const { rank } = predictor;
    return [
      this.#matrix(
        `blk.${layer}.fc1`,
        [hiddenSize, rank],
        () => predictor.fc1(),
      ),
      this.#matrix(
        `blk.${layer}.fc2`,
        [rank, feedForwardSize],
        () => predictor.fc2(this.#neurons.layer(layer)),
      ),
    ];
  }

  #matrix(
    name: string,
    shape: readonly [columns: number, rows: number],
    begin: () => FillRow,
  ): TensorToWrite {
    return matrix(name, this.options.type, shape, begin);
  }
}
