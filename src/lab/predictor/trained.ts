/**
 * A layer's predictor by training, in PowerInfer's form: scores = fc2 ·
 * relu(fc1 · x) of the residual x as it is before the norm, and a neuron is
 * selected where its score is at least 0.
 *
 * The form has no bias, so one of fc1's rows stands for it: it begins as the
 * mean input's direction, in which a normed residual hardly varies, and what
 * fc2 makes of it begins as how often each neuron fires. A layer's threshold
 * goes into that column too. At 0, which the file's one threshold is, a score's
 * size does not matter: the residual, which is the normed one but for the
 * norm's weights, which fc1 takes in, and for a positive factor, is as good.
 */
import { dequantise } from "../../formats/ggml/dequantise.ts";
import type { ByteSource } from "../../bytes/byte_source.ts";
import type { TensorInfo } from "../../formats/gguf/read.ts";
import { neuronBytes } from "../../plan/costs.ts";
import type { Random } from "../../random.ts";
import { Dense } from "./dense.ts";
import { type LayerSamples, meanOf, type Samples } from "./layer_samples.ts";
import { LowRank } from "./low_rank.ts";
import type {
  LayerMaker,
  MadeLayer,
  OnTrainingStep,
  PredictorPlan,
} from "./predictor_plan.ts";
import {
  balance,
  type Network,
  store,
  type StoredTensor,
  tensorOf,
} from "./stored.ts";
import { calibrated } from "./threshold.ts";
import { Trainer } from "./training.ts";

/** How the layers are trained. */
interface TrainedOptions
  extends Pick<PredictorPlan, "rank" | "isFixed" | "recall"> {
  /** Times that each example is seen */
  readonly epochs: number;
  readonly onStep?: OnTrainingStep;
}

/** A rank that was tried. */
interface Tried {
  readonly rank: number;
  readonly tensors: readonly StoredTensor[];
  /** Bytes of weights that a token reads, by the held-out tokens */
  readonly bytes: number;
}

/** Ranks are halved and doubled so often at most. */
const halvings = 2;
/** The least rank that is tried: a block of Q4_0. */
const leastRank = 32;
/** How much a direction of the training-free map must say to be of use, of the first one. */
const leastSize = 1e-3;
/** Epochs that see fc2 as it is stored, of all: the last ones. */
const storedShare = 0.4;
/** How much smaller their steps are. */
const storedRate = 0.2;
/** Makes one layer after another in the same memory. */
export class TrainedLayers implements LayerMaker {
  readonly #lowRank: LowRank;

  /** The samples must have labelled examples. */
  constructor(
    readonly samples: LayerSamples,
    readonly source: ByteSource,
    readonly options: TrainedOptions,
  ) {
    const { memory, sums, examples, tokens } = samples;
    const x = examples.x.part(0, tokens);
    this.#lowRank = new LowRank(memory, sums, x, options.rank);
  }

  /**
   * See {@linkcode LayerMaker.make}. Of ranks that are each twice the one
   * before it, takes that with which a token reads the fewest bytes: the
   * predictor's, and those of gate and up of the selected neurons. Beginning
   * in the middle, it goes up while that pays, or else down.
   */
  async make(
    layer: number,
    random: Random,
    pause: () => Promise<void>,
  ): Promise<MadeLayer> {
    await this.#lowRank.factorise(random, pause);
    const { rank, isFixed } = this.options;
    let best = await this.#try(layer, rank, random, pause);
    const { model: { hiddenSize, feedForwardSize } } = this.samples;
    const most = Math.min(hiddenSize, feedForwardSize, rank * 2 ** halvings);
    const least = Math.max(leastRank, rank / 2 ** halvings);
    for (const factor of isFixed ? [] : [2, 0.5]) {
      // Where doubling paid, what is half as much is known to cost more.
      if (best.rank !== rank) break;
      for (;;) {
        const other = best.rank * factor;
        if (!Number.isInteger(other) || other < least || other > most) break;
        const tried = await this.#try(layer, other, random, pause);
        if (tried.bytes >= best.bytes) break;
        best = tried;
      }
    }
    return { tensors: best.tensors, threshold: 0 };
  }

  async #try(
    layer: number,
    rank: number,
    random: Random,
    pause: () => Promise<void>,
  ): Promise<Tried> {
    const { memory, model, examples } = this.samples;
    const { hiddenSize, feedForwardSize } = model;
    const top = memory.top;
    const trainer = new Trainer(memory, hiddenSize, rank, feedForwardSize);
    const { network } = trainer;
    this.#begin(network, random);
    const { epochs, recall, onStep } = this.options;
    const last = Math.round(epochs * storedShare);
    const parts = [
      { epochs: epochs - last, asStored: false, size: 1 },
      { epochs: last, asStored: true, size: storedRate },
    ];
    let before = 0;
    for (const { epochs: count, asStored, size } of parts) {
      if (asStored) balance(network);
      const { fc1, fc2 } = ratesOf(this.samples.heldOut.x, rank);
      const schedule = {
        epochs: count,
        asStored,
        rates: { fc1: size * fc1, fc2: size * fc2 },
        weight: weightOf(recall),
      };
      await trainer.train(examples, schedule, random, async (done) => {
        onStep?.(layer, rank, (before + done * count) / epochs);
        await pause();
      });
      before += count;
    }
    const made = await this.#store(layer, network);
    memory.rewind(top);
    return made;
  }

  /**
   * The start: fc1 as mixtures at random of the training-free map's directions,
   * in which inputs have a mean square of 1, fc2 small and at random; and the
   * row that stands for a bias.
   */
  #begin({ fc1, fc2 }: Network, random: Random): void {
    const { memory, examples, tokens } = this.samples;
    const top = memory.top;
    const directions = this.#directions();
    const turns = new Dense(memory, fc1.rows, directions.rows);
    fill(turns, random, 1 / Math.sqrt(directions.rows));
    directions.transposedTimes(turns, fc1);
    memory.rewind(top);
    fill(fc2, random, 0.1 / Math.sqrt(fc1.rows));
    const mean = meanOf(examples.x.part(0, tokens));
    const squares = mean.reduce((sum, value) => sum + value * value, 0);
    fc1.row(0).set(mean.map((value) => value / Math.max(squares, 1e-30)));
    const weight = weightOf(this.options.recall);
    countsOf(examples).forEach((count, j) => {
      const share = (count + 0.5) / (examples.x.rows + 1);
      fc2.row(j)[0] = Math.log(weight * share / (1 - share));
    });
  }

  /** The map's, but for those in which the text says nearly nothing: scaled to a mean square of 1, they would be huge. */
  #directions(): Dense {
    const { project, rows } = this.#lowRank;
    const sizes = Array.from(
      { length: this.options.rank },
      (_, k) => Math.hypot(...rows.row(k)),
    );
    const count = sizes.findIndex((size) => !(size > leastSize * sizes[0]));
    return project.part(0, count > 0 ? count : count < 0 ? sizes.length : 1);
  }

  /** The network as tensors of the layer, its threshold at 0. */
  async #store(layer: number, { fc1, fc2 }: Network): Promise<Tried> {
    const { memory, model, heldOut } = this.samples;
    const tensors = model.layers[layer];
    const norm = await this.#read(tensors.ffn_norm!);
    const scaled = new Dense(memory, fc1.rows, fc1.columns);
    scaled.copy(fc1);
    scaled.map((weight, _, i) => weight * norm[i]);
    const fc1Data = store("fc1", scaled, scaled);
    // What the file says, for normed inputs.
    const inverse = Array.from(norm, (each) => each === 0 ? 0 : 1 / each);
    scaled.map((weight, _, i) => weight * inverse[i]);
    const z = new Dense(memory, heldOut.x.rows, fc1.rows);
    scaled.times(heldOut.x, z).relu();
    const { recall } = this.options;
    const { data: fc2Data, asked } = calibrated(fc2, z, heldOut, recall);
    const { gate, up } = neuronBytes(tensors, fc2.rows);
    return {
      rank: fc1.rows,
      tensors: [
        tensorOf(layer, "fc1", fc1, fc1Data),
        tensorOf(layer, "fc2", fc2, fc2Data),
      ],
      bytes: fc1Data.length + fc2Data.length +
        asked * fc2.rows * (gate + up),
    };
  }

  async #read(tensor: TensorInfo): Promise<Float32Array> {
    const { type, offset, byteLength, shape } = tensor;
    const values = new Float32Array(shape[0]);
    dequantise(type, await this.source.read(offset, byteLength), values);
    return values;
  }
}

/**
 * What a neuron that fires counts. The loss of asking for a neuron outweighs
 * that of leaving it where it fires with a probability above 1 / (1 + weight),
 * and there, at a logit of 0, training is at its keenest. A recall of 1 - s
 * takes asking from a probability of about s on, so the weight that puts the
 * border where the threshold will be is about 1 / s.
 */
function weightOf(recall: number): number {
  return 1 / (1 - recall);
}

/** Steps that move what a row says by the same, however wide it is: Adam's move each weight alike. */
function ratesOf(x: Dense, rank: number): Record<keyof Network, number> {
  const size = Math.sqrt(x.meanSquare());
  return {
    fc1: 1 / (x.columns * Math.max(size, 1e-30)),
    fc2: 0.64 / Math.max(rank, 128),
  };
}

/** Normally distributed numbers of a standard deviation (Box & Muller 1958). */
function fill(matrix: Dense, random: Random, deviation: number): void {
  matrix.map(() => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
    return deviation * radius * Math.cos(2 * Math.PI * random.next());
  });
}

/** How many of the samples each neuron fires for. */
function countsOf(samples: Samples): Float64Array {
  const counts = new Float64Array(samples.neurons);
  for (let t = 0; t < samples.x.rows; t++) {
    const fires = samples.firesAt(t);
    for (let j = 0; j < fires.length; j++) counts[j] += fires[j];
  }
  return counts;
}
