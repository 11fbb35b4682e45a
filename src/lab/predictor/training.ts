/**
 * Training a predictor of PowerInfer's form, which says of each neuron whether
 * it fires: logits = fc2 · relu(fc1 · x), by mini-batches, binary cross-entropy
 * and Adam.
 *
 * All products, forward and backward, are the kernels': of a batch's X
 * `[batch, inputs]`, Z = relu(X · fc1ᵀ), logits L = Z · fc2ᵀ and their gradient
 * D, the gradient of fc2 is Dᵀ · Z, that of Z is D · fc2, and that of fc1 is
 * the latter's transpose, zero where Z is, times X. Whatever lies the wrong way
 * is turned first: rows times rows are several times as fast as sums of rows.
 */
import type { WasmMemory } from "../../kernels/memory.ts";
import { type Random, shuffle } from "../../random.ts";
import { Dense } from "./dense.ts";
import type { Samples } from "./layer_samples.ts";
import { type Network, store } from "./stored.ts";

/** How long and how boldly a network is trained. */
export interface Schedule {
  /** Times that each example is seen */
  readonly epochs: number;
  /** Adam's step at first, of each matrix; it falls to 0 along half a cosine */
  readonly rates: Readonly<Record<keyof Network, number>>;
  /** How many times a neuron counts that fires, of one that does not */
  readonly weight: number;
  /**
   * Whether the batches see fc2 as it is stored, while the steps go to what
   * lies behind that: its errors are learnt to live with (the straight-through
   * estimator of Bengio et al. 2013, arXiv 1308.3432)
   */
  readonly asStored: boolean;
}

/** Examples of a batch. */
export const batchSize = 64;
/** Adam's, as its authors have them */
const beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
/** Steps after which fc2 is stored anew: each moves it by little. */
const storeEvery = 16;

/** Trains a network. */
export class Trainer {
  /** Zero at first */
  readonly network: Network;
  readonly #gradients: Network;
  readonly #means: Network;
  readonly #squares: Network;
  /** fc2 as it is stored */
  readonly #stored: Dense;
  readonly #fc2Turned: Dense;
  readonly #x: Dense;
  readonly #xTurned: Dense;
  readonly #z: Dense;
  readonly #zTurned: Dense;
  readonly #dz: Dense;
  readonly #dzTurned: Dense;
  readonly #logits: Dense;
  readonly #logitsTurned: Dense;

  /** fc1 is `[rank, inputs]`, fc2 `[outputs, rank]`. */
  constructor(
    readonly memory: WasmMemory,
    readonly inputs: number,
    readonly rank: number,
    readonly outputs: number,
  ) {
    const dense = (rows: number, columns: number) =>
      new Dense(memory, rows, columns);
    const network = () => ({
      fc1: dense(rank, inputs),
      fc2: dense(outputs, rank),
    });
    this.network = network();
    this.#gradients = network();
    this.#means = network();
    this.#squares = network();
    this.#stored = dense(outputs, rank);
    this.#fc2Turned = dense(rank, outputs);
    this.#x = dense(batchSize, inputs);
    this.#xTurned = dense(inputs, batchSize);
    this.#z = dense(batchSize, rank);
    this.#zTurned = dense(rank, batchSize);
    this.#dz = dense(batchSize, rank);
    this.#dzTurned = dense(rank, batchSize);
    this.#logits = dense(batchSize, outputs);
    this.#logitsTurned = dense(outputs, batchSize);
  }

  /**
   * Trains the network as it stands. Examples that fill no batch are left out
   * of an epoch. `onStep` is awaited after each batch, and told the share done.
   */
  async train(
    samples: Samples,
    { epochs, rates, weight, asStored }: Schedule,
    random: Random,
    onStep: (done: number) => Promise<void>,
  ): Promise<void> {
    for (const { fc1, fc2 } of [this.#means, this.#squares]) {
      fc1.clear();
      fc2.clear();
    }
    const { fc2 } = this.network;
    const order = Uint32Array.from({ length: samples.x.rows }, (_, t) => t);
    const batches = Math.floor(order.length / batchSize);
    const total = epochs * batches;
    for (let step = 0; step < total; step++) {
      const first = step % batches * batchSize;
      if (first === 0) shuffle(order, random);
      if (asStored && step % storeEvery === 0) {
        store("fc2", fc2, this.#stored);
      }
      const batch = order.subarray(first, first + batchSize);
      this.gradients(samples, batch, weight, asStored ? this.#stored : fc2);
      const fallen = (1 + Math.cos(Math.PI * step / total)) / 2;
      this.#step("fc1", fallen * rates.fc1, step + 1);
      this.#step("fc2", fallen * rates.fc2, step + 1);
      await onStep((step + 1) / total);
    }
  }

  /**
   * The gradient of the loss of the samples that `batch` counts,
   * {@linkcode batchSize} of them: the sum over samples and neurons. `fc2` may
   * be another one than the network's.
   */
  gradients(
    samples: Samples,
    batch: Uint32Array,
    weight: number,
    fc2 = this.network.fc2,
  ): Network {
    const { kernels } = this.memory;
    batch.forEach((t, i) => this.#x.row(i).set(samples.x.row(t)));
    this.network.fc1.times(this.#x, this.#z).relu();
    fc2.times(this.#z, this.#logits);
    batch.forEach((t, i) =>
      kernels.cross_entropy_gradient(
        this.#logits.row(i).byteOffset,
        samples.fires + t * samples.neurons,
        samples.neurons,
        weight,
      )
    );
    const { fc1: ofFc1, fc2: ofFc2 } = this.#gradients;
    this.#z.transposed(this.#zTurned)
      .times(this.#logits.transposed(this.#logitsTurned), ofFc2);
    fc2.transposed(this.#fc2Turned).times(this.#logits, this.#dz);
    for (let i = 0; i < batchSize; i++) {
      const z = this.#z.row(i), dz = this.#dz.row(i);
      for (let k = 0; k < z.length; k++) if (!(z[k] > 0)) dz[k] = 0;
    }
    this.#x.transposed(this.#xTurned)
      .times(this.#dz.transposed(this.#dzTurned), ofFc1);
    return this.#gradients;
  }

  /**
   * Adam's step number `t`, from 1 on (Kingma & Ba 2015, arXiv 1412.6980):
   * means and squares begin at zero, which the rate makes up for. How large
   * the loss is does not matter to it.
   */
  #step(name: keyof Network, rate: number, t: number): void {
    const weights = this.network[name];
    this.memory.kernels.adam(
      weights.pointer,
      this.#gradients[name].pointer,
      this.#means[name].pointer,
      this.#squares[name].pointer,
      weights.rows * weights.stride,
      rate * Math.sqrt(1 - beta2 ** t) / (1 - beta1 ** t),
      beta1,
      beta2,
      epsilon,
    );
  }
}
