import type { TensorToWrite } from "../../formats/gguf/write.ts";
import { architectures } from "../../model/architectures.ts";
import {
  allTensorNames,
  ggufName,
  layerTensors,
  shapeOf,
  sideLengths,
  type TensorName,
  tensorSchemas,
} from "../../model/schema.ts";
import { type LayerNeurons, Neurons, noiseOfRow, signalOf } from "./neurons.ts";
import {
  architectureOf,
  constantChannels,
  signalChannels,
  type SynthOptions,
} from "./options.ts";
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

/** Makes the tensors of a synthetic model; their weights are made when they are read. */
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
    const { form, shape: { layerCount } } = this.options;
    const { needs } = architectures.get(architectureOf(this.options))!;
    const chosen = new Set<TensorName>([
      ...needs,
      "output",
      form === "llama" ? "ffn_down" : "ffn_down_t",
      ...(this.#predictor ? ["fc1", "fc2"] as const : []),
    ]);
    return allTensorNames(layerCount)
      .filter(({ name }) => !tensorSchemas[name].optional || chosen.has(name))
      .map(({ name, layer }) => this.#tensor(name, layer));
  }

  #tensor(name: TensorName, layer?: number): TensorToWrite {
    const { shape, type } = this.options;
    const headSize = shape.hiddenSize / shape.headCount;
    const sides = shapeOf(name, {
      ...sideLengths({ ...shape, headSize, ropeSize: headSize }),
      vocab: shape.vocabSize,
      rank: this.#predictor?.rank ?? 0,
    });
    const file = ggufName(name, layer);
    const [columns, rows] = sides;
    if (rows === undefined) {
      return vector(file, columns, layer === undefined ? 1 : normWeight);
    }
    const fill = () => this.#fill(name, columns, rows, layer ?? 0);
    return matrix(file, type, [columns, rows], fill);
  }

  /** Begins to make a matrix's rows. */
  #fill(
    name: TensorName,
    columns: number,
    rows: number,
    layer: number,
  ): FillRow {
    const seed = name in layerTensors ? `blk.${layer}.${name}` : name;
    const random = (tiles: Tiles) => tiles.matrix(seed, rows, columns);
    const headed = (tiles: Tiles, headOf: (row: number) => RowHead) =>
      withHead(
        this.options.type,
        random(tiles),
        tiles.deviation,
        randomFor(this.options.seed, `${seed} head`),
        headOf,
      );
    const neurons = () => this.#neurons.layer(layer);
    switch (name) {
      case "token_embd":
        return headed(this.#embedding, this.#embeddingHead());
      case "attn_output":
        return random(this.#attentionOutput);
      case "ffn_gate":
        return headed(this.#noise, neuronHead(neurons(), "gateOffset"));
      case "ffn_up":
        return headed(this.#noise, neuronHead(neurons(), "upOffset"));
      // The same weights in both forms.
      case "ffn_down":
        return this.#down.transposed(seed, columns, rows);
      case "ffn_down_t":
        return this.#down.matrix(`blk.${layer}.ffn_down`, rows, columns);
      case "fc1":
        return this.#predictor!.fc1();
      case "fc2":
        return this.#predictor!.fc2(neurons());
    }
    return random(this.#unit);
  }

  #embeddingHead(): (row: number) => RowHead {
    const random = randomFor(this.options.seed, "embedding");
    const length = Math.sqrt(signalChannels);
    return () => ({
      constant: constantChannels,
      signal: direction(signalChannels, length, random),
    });
  }
}

function neuronHead(
  neurons: LayerNeurons,
  offset: "gateOffset" | "upOffset",
): (row: number) => RowHead {
  return (row) => ({
    constant: neurons[offset][row],
    signal: signalOf(neurons, row),
  });
}
