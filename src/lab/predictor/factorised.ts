/**
 * A layer's predictor without training: a map of low rank that says nearly
 * what a neuron's rows of gate and up would say.
 *
 * A neuron of dReLU fires where gate · x and up · x are both positive, which a
 * linear map predicts best from the sum of the two rows, each of unit length; one
 * of ReGLU fires where gate · x is positive. From what score on a neuron is
 * selected is chosen on tokens that the map was not made from.
 */
import type { Random } from "../../random.ts";
import { Dense } from "./dense.ts";
import type { LayerSamples } from "./layer_samples.ts";
import { LowRank } from "./low_rank.ts";
import { balance, type Network, store, tensorOf } from "./stored.ts";
import { ofFiring, thresholdOf } from "./threshold.ts";
import type { LayerMaker, MadeLayer } from "./predictor_plan.ts";

/** Makes one layer after another in the same memory. */
export class FactorisedLayers implements LayerMaker {
  readonly #lowRank: LowRank;
  readonly #network: Network;
  readonly #z: Dense;
  /** `[held-out tokens, feedForwardSize]` */
  readonly #scores: Dense;

  /** What the samples hold is factorised. */
  constructor(
    readonly samples: LayerSamples,
    readonly rank: number,
    readonly recall: number,
  ) {
    const { memory, model, heldOut, sums, examples } = samples;
    const dense = (rows: number, columns: number) =>
      new Dense(memory, rows, columns);
    this.#lowRank = new LowRank(memory, sums, examples.x, rank);
    this.#network = {
      fc1: dense(rank, model.hiddenSize),
      fc2: dense(model.feedForwardSize, rank),
    };
    this.#z = dense(heldOut.x.rows, rank);
    this.#scores = dense(heldOut.x.rows, model.feedForwardSize);
  }

  /** See {@linkcode LayerMaker.make}. */
  async make(
    layer: number,
    random: Random,
    pause: () => Promise<void>,
  ): Promise<MadeLayer> {
    const { rank, samples: { heldOut } } = this;
    await this.#lowRank.factorise(random, pause);
    const { project, rows } = this.#lowRank;
    const { fc1, fc2 } = this.#network;
    fc1.copy(project.part(0, rank));
    rows.part(0, rank).transposed(fc2);
    balance(this.#network);
    const tensors = (["fc1", "fc2"] as const).map((name) => {
      const matrix = this.#network[name];
      return tensorOf(layer, name, matrix, store(name, matrix, matrix));
    });
    await pause();
    fc1.times(heldOut.x, this.#z);
    fc2.times(this.#z, this.#scores);
    const firing = ofFiring(this.#scores, heldOut);
    return { tensors, threshold: thresholdOf(firing, this.recall) };
  }
}
