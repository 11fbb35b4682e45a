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
  headSizeOf,
  signalChannels,
  type SynthOptions,
} from "./options.ts";
import { Predictor } from "./predictor.ts";
import { shuffle } from "../../random.ts";
import { direction, normalQuantile, randomFor } from "./random.ts";
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
  readonly #router: Tiles;
  readonly #down: Tiles;
  /** Of a layer */
  readonly #neuronCount: number;
  readonly #expertCount: number;

  /**
   * Chooses what all tensors share.
   *
   * @throws {UsageError} for shares or a predictor out of reach
   */
  constructor(readonly options: SynthOptions) {
    const { shape, type, seed, active, predictor } = options;
    const { hiddenSize, layerCount, expertCount = 1, usedExperts = 1 } = shape;
    this.#expertCount = expertCount;
    const feedForwardSize = this.#neuronCount = expertCount *
      shape.feedForwardSize;
    this.#neurons = new Neurons({ ...options, ...shape, feedForwardSize });
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
      each / (normWeight * Math.sqrt(shape.headCount * headSizeOf(shape))),
    );
    const noise = noiseOfRow / Math.sqrt(noiseChannels);
    this.#noise = tiles("noise", noise);
    this.#router = new Tiles("F32", noise, seed, "router");
    // The weights of the experts that a token chooses add up to 1.
    const firing = active * shape.feedForwardSize / usedExperts;
    this.#down = tiles("down", each / (normWeight ** 2 * Math.sqrt(firing)));
  }

  /** All tensors, in llama.cpp's order. */
  list(): TensorToWrite[] {
    const { form, shape: { layerCount } } = this.options;
    const { needs } = architectures.get(architectureOf(this.options))!;
    const chosen = new Set<TensorName>([
      ...needs,
      "output",
      form === "llama" ? "ffn_down" : "ffn_down_t",
      ...(this.#expertCount > 1 ? ["ffn_gate_inp"] as const : []),
      ...(this.#predictor ? ["fc1", "fc2"] as const : []),
    ]);
    return allTensorNames(layerCount)
      .filter(({ name }) => !tensorSchemas[name].optional || chosen.has(name))
      .map(({ name, layer }) => this.#tensor(name, layer));
  }

  #tensor(name: TensorName, layer?: number): TensorToWrite {
    const { shape, type } = this.options;
    const headSize = headSizeOf(shape);
    const feedForwardSize = this.#neuronCount, experts = this.#expertCount;
    const sizes = { ...shape, headSize, ropeSize: headSize, feedForwardSize };
    const rank = this.#predictor?.rank ?? 0;
    const sides = shapeOf(name, {
      ...sideLengths(sizes),
      vocab: shape.vocabSize,
      rank: name === "fc1" ? experts * rank : rank,
    });
    const file = ggufName(name, layer, experts > 1);
    const [columns, rows] = sides;
    if (rows === undefined) {
      return vector(file, columns, layer === undefined ? 1 : normWeight);
    }
    const fill = () => this.#fill(name, columns, rows, layer ?? 0);
    const isRouter = name === "ffn_gate_inp";
    const all = matrix(file, isRouter ? "F32" : type, [columns, rows], fill);
    return experts > 1 && tensorSchemas[name].perExpert
      ? { ...all, shape: [columns, rows / experts, experts] }
      : all;
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
        tiles.type,
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
      case "ffn_gate_inp":
        return headed(this.#router, this.#routerHead(layer));
      // The same weights in both forms.
      case "ffn_down":
        return this.#ofExperts(
          rows,
          (expert, count) =>
            this.#down.transposed(`${seed}${expert}`, columns, count),
        );
      case "ffn_down_t":
        return this.#ofExperts(
          rows,
          (expert, count) =>
            this.#down.matrix(`blk.${layer}.ffn_down${expert}`, count, columns),
        );
      case "fc1":
        return this.#ofExperts(rows, () => this.#predictor!.fc1());
      case "fc2":
        return this.#predictor!.fc2(neurons());
    }
    return random(this.#unit);
  }

  /** The rows of one expert behind those of another; an only one has no name. */
  #ofExperts(
    rows: number,
    make: (expert: string, count: number) => FillRow,
  ): FillRow {
    const count = rows / this.#expertCount;
    if (this.#expertCount === 1) return make("", count);
    let fill: FillRow;
    return (row, target) => {
      if (row % count === 0) fill = make(`.${row / count}`, count);
      fill(row % count, target);
    };
  }

  /**
   * How often each expert is chosen: some often, and three of four less than the
   * mean, as in SmallThinker. Its score is positive for that share of tokens, and
   * the largest ones are chosen.
   */
  #routerHead(layer: number): (row: number) => RowHead {
    const { shape: { expertCount = 1, usedExperts = 1 }, seed } = this.options;
    const random = randomFor(seed, `router ${layer}`);
    const ranks = Float64Array.from(
      { length: expertCount },
      (_, rank) => (rank + 1) ** -0.5,
    );
    const scale = usedExperts / ranks.reduce((sum, each) => sum + each, 0);
    const shares = ranks.map((each) => Math.min(0.95, scale * each));
    shuffle(shares, random);
    return (row) => ({
      constant: normalQuantile(shares[row]),
      signal: direction(signalChannels, 1, random),
    });
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
