/**
 * What makes a neuron fire as often as it should.
 *
 * Every token's embedding has 1 in the first channels, a random direction in
 * the signal's channels, and noise in all others; what layers add to it is
 * small. Gate and up row of a neuron have the same direction in the signal's
 * channels, which carry most of their length, so that
 *
 *     gate = z + gateOffset,  up = z' + upOffset,
 *
 * where z and z' are about standard normal over tokens and differ little, and
 * the offsets are the rows' weights on the constant channels. In dReLU the up is
 * the rarer one, so that how often it is positive is how often the neuron
 * fires; in ReGLU the gate alone says so.
 * The norm before the rows scales both, which changes no sign.
 */
import { firingProbabilities, gatePower } from "../../plan/firing.ts";
import { shuffle } from "../../random.ts";
import {
  signalChannels,
  type SynthOptions,
  type SynthShape,
} from "./options.ts";
import { direction, gaussians, normalQuantile, randomFor } from "./random.ts";

/** The share of a gate's variance that the signal makes; what is left is noise to a predictor. */
const signalShare = 0.95;
/** The standard deviation of what the other channels add to a gate. */
export const noiseOfRow: number = Math.sqrt(1 - signalShare);

/** What is required of the neurons. */
type NeuronOptions =
  & Pick<SynthShape, "layerCount" | "feedForwardSize">
  & Pick<SynthOptions, "active" | "gatePositive" | "activation" | "seed">;

/** The neurons of one layer, in the file's order. */
export interface LayerNeurons {
  /** Added to the signal, this is positive where the neuron fires */
  readonly firingOffset: Float64Array;
  /** Added to each neuron's gate */
  readonly gateOffset: Float64Array;
  /** Added to each neuron's up */
  readonly upOffset: Float64Array;
  /** The weights of gate and up on the signal, `[neuron][signalChannels]` */
  readonly signal: Float32Array;
}

/** The weights of one neuron's gate and up on the signal. */
export function signalOf(
  { signal }: LayerNeurons,
  neuron: number,
): Float32Array {
  const start = neuron * signalChannels;
  return signal.subarray(start, start + signalChannels);
}

/** The neurons of all layers; hot ones lie scattered. */
export class Neurons {
  readonly #probabilities: Float64Array[];
  readonly #gatePower: number;
  #held?: readonly [layer: number, neurons: LayerNeurons];

  /**
   * Chooses how often each neuron fires.
   *
   * @throws {UsageError} for shares out of reach
   */
  constructor(readonly options: NeuronOptions) {
    const { layerCount, feedForwardSize, active, seed } = options;
    const hottestFirst = firingProbabilities(
      layerCount,
      feedForwardSize,
      active,
    );
    this.#gatePower = options.activation === "reglu"
      ? 1
      : gatePower(hottestFirst, options.gatePositive);
    this.#probabilities = hottestFirst;
    hottestFirst.forEach((layer, i) =>
      shuffle(layer, randomFor(seed, `order ${i}`))
    );
  }

  /** The neurons of a layer; those of the last layer read are held. */
  layer(layer: number): LayerNeurons {
    if (this.#held?.[0] !== layer) this.#held = [layer, this.#make(layer)];
    return this.#held[1];
  }

  /**
   * What a predictor that knows `channels` of the signal must add to them and
   * to a neuron's firing offset, so that the sum is at least 0 for this share of
   * the neurons that fire. Measured on random neurons and signals.
   */
  predictorMargin(channels: number, recall: number): number {
    const { seed } = this.options;
    const random = randomFor(seed, "margin");
    const known = signalShare * channels / signalChannels;
    const [seen, unseen] = [known, 1 - known].map((variance) =>
      gaussians(1 << 18, Math.sqrt(variance), random)
    );
    const needed: number[] = [];
    for (let i = 0; i < seen.length; i++) {
      const layer = this.#probabilities[i % this.#probabilities.length];
      const p = layer[Math.floor(random.next() * layer.length)];
      const score = seen[i] + normalQuantile(p);
      if (score + unseen[i] > 0) needed.push(-score);
    }
    needed.sort((a, b) => a - b);
    return needed[Math.floor(recall * needed.length)];
  }

  #make(layer: number): LayerNeurons {
    const probabilities = this.#probabilities[layer];
    const random = randomFor(this.options.seed, `signal ${layer}`);
    const signal = new Float32Array(probabilities.length * signalChannels);
    const length = Math.sqrt(signalShare);
    for (let at = 0; at < signal.length; at += signalChannels) {
      signal.set(direction(signalChannels, length, random), at);
    }
    const firingOffset = probabilities.map(normalQuantile);
    return {
      firingOffset,
      gateOffset: probabilities.map((p) =>
        normalQuantile(p ** this.#gatePower)
      ),
      upOffset: this.options.activation === "reglu"
        ? new Float64Array(probabilities.length)
        : firingOffset,
      signal,
    };
  }
}
