/**
 * How often each neuron fires without a profile: a layer's distribution is
 * that of Bamboo-7B, steeper in some layers than in others.
 */
import { bisect } from "../bisect.ts";
import { UsageError } from "../errors.ts";
import { isSparse } from "../model/activation.ts";
import { routedNeurons } from "../model/experts.ts";
import { listOf } from "../model/index_set.ts";
import type { Model } from "../model/model.ts";
import { type Firing, firingOf, type Profile } from "./profile.ts";

/**
 * Share of the hottest neurons → share of all activations that they take.
 * Mean over the layers of Bamboo-7B, read off figures/cdf.svg of
 * SJTU-IPADS/Bamboo (1 M tokens of cosmopedia).
 */
export const bambooCdf: readonly (readonly [number, number])[] = [
  [0, 0],
  [0.01, 0.061],
  [0.05, 0.28],
  [0.1, 0.466],
  [0.2, 0.608],
  [0.26, 0.665],
  [0.3, 0.699],
  [0.5, 0.832],
  [1, 1],
];

/** No neuron fires more often: one that always did would need an endless offset. */
const mostFiring = 0.99;

/** Bamboo's steepest layer is 21 of 0 to 31, the flattest is the last. */
const steepestDepth = 21 / 31;

/**
 * The firing probability of each neuron of each layer, hottest first.
 *
 * @param active their mean in every layer
 * @throws {UsageError} where the mean is out of reach
 */
export function firingProbabilities(
  layerCount: number,
  neuronCount: number,
  active: number,
): Float64Array[] {
  if (!(active > 0 && active <= 0.9)) {
    throw new UsageError(
      `Cannot make a share of ${active} of the neurons fire: needs a number above 0, at most 0.9`,
    );
  }
  const weights = Float64Array.from(
    { length: neuronCount },
    (_, j) => density((j + 0.5) / neuronCount),
  );
  return Array.from({ length: layerCount }, (_, layer) => {
    const steepness = steepnessAt(layer / Math.max(1, layerCount - 1));
    return withMean(weights.map((weight) => weight ** steepness), active);
  });
}

/**
 * The power b for which the mean of p^b over all neurons is `gatePositive`:
 * p^b is then the share of tokens for which a neuron's gate is positive.
 *
 * @throws {UsageError} where the share is below the mean of p, or not below 1
 */
export function gatePower(
  probabilities: readonly Float64Array[],
  gatePositive: number,
): number {
  const meanOf = (power: number) =>
    mean(probabilities.map((layer) => mean(layer.map((p) => p ** power))));
  const active = meanOf(1);
  if (!(gatePositive > active - 1e-6 && gatePositive < 1)) {
    throw new UsageError(
      `Cannot make a share of ${gatePositive} of the gates positive: needs a number from the share ${
        active.toFixed(3)
      } that fires, below 1`,
    );
  }
  return bisect(0, 1, (power) => meanOf(power) < gatePositive);
}

/** The CDF's slope at a share of neurons: log-linear between the middles of its pieces. */
function density(share: number): number {
  const middles = bambooCdf.slice(1).map(([x, y], i) => {
    const [x0, y0] = bambooCdf[i];
    return [(x + x0) / 2, Math.log((y - y0) / (x - x0))];
  });
  const next = middles.findIndex(([x]) => x > share);
  const i = next < 0 ? middles.length - 1 : Math.max(1, next);
  const [x0, y0] = middles[i - 1];
  const [x1, y1] = middles[i];
  return Math.exp(y0 + (y1 - y0) * (share - x0) / (x1 - x0));
}

/** Frequencies are raised to this power: about 1 on average over the layers. */
function steepnessAt(depth: number): number {
  return depth < steepestDepth
    ? 0.9 + 0.25 * depth / steepestDepth
    : 1.15 - 0.35 * (depth - steepestDepth) / (1 - steepestDepth);
}

/** Scales weights to a mean, none of them passing {@linkcode mostFiring}. */
function withMean(weights: Float64Array, wanted: number): Float64Array {
  const scaled = (factor: number) =>
    weights.map((weight) => Math.min(mostFiring, factor * weight));
  const enough = 1 / Math.min(...weights);
  return scaled(bisect(0, enough, (factor) => mean(scaled(factor)) > wanted));
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Shares of Bamboo-7B's neurons that fire, and whose gates are positive. */
const bamboo = { active: 0.148, gatePositive: 0.39 };

/**
 * - `bamboo`: distributed as in Bamboo-7B, the hottest neurons first in the file;
 * - `even`: every neuron as often as Bamboo's do on average, for it is not known which are hot.
 */
export type Distribution = "bamboo" | "even";

/** How often each neuron of each layer is assumed to fire, in the file's order; those of an expert no more often than it is chosen. */
export function assumedFiring(
  model: Model,
  distribution: Distribution,
): Firing[] {
  const { layers, feedForwardSize, activation } = model;
  const order = listOf({ start: 0, end: feedForwardSize });
  const firing = (active: Float32Array, gatePositive: Float32Array) => ({
    order,
    rank: order,
    active,
    gatePositive: activation === "drelu" ? gatePositive : active,
  });
  const chosen = chosenShare(model);
  const constant = (share: number) =>
    new Float32Array(feedForwardSize).fill(chosen * share);
  if (!isSparse(activation)) {
    return layers.map(() => firing(constant(1), constant(1)));
  }
  const { active, gatePositive } = bamboo;
  if (distribution === "even") {
    return layers.map(() => firing(constant(active), constant(gatePositive)));
  }
  const shares = firingProbabilities(layers.length, feedForwardSize, active);
  const power = gatePower(shares, gatePositive);
  return shares.map((layer) =>
    firing(
      Float32Array.from(layer, (p) => chosen * p),
      Float32Array.from(layer, (p) => chosen * p ** power),
    )
  );
}

/** For what share of tokens an expert is chosen, if all are equally often; 1 where there is no router. */
export function chosenShare(model: Model): number {
  return routedNeurons(model) / model.feedForwardSize;
}

/**
 * For what share of tokens each expert of a layer is chosen, as far as its neurons
 * tell: one that a token chose has some that nearly always have a positive gate, so
 * it counts as its hottest neuron does. All add up to the experts that a token
 * chooses; shared ones are chosen always.
 */
export function expertShares(
  { expertCount, feedForwardSize, routing }: Model,
  { order, gatePositive, active }: Firing,
): Float64Array {
  const shares = new Float64Array(expertCount).fill(1);
  if (!routing) return shares;
  const { used, shared = 0 } = routing, routed = expertCount - shared;
  const hottest = new Float64Array(routed);
  order.forEach((id, i) => {
    const expert = Math.floor(id * expertCount / feedForwardSize);
    if (expert >= routed) return;
    hottest[expert] = Math.max(hottest[expert], gatePositive[i], active[i]);
  });
  const sum = hottest.reduce((a, b) => a + b, 0);
  shares.set(
    hottest.map((share) =>
      Math.min(1, (used - shared) * (sum > 0 ? share / sum : 1 / routed))
    ),
  );
  return shares;
}

/** How often each neuron of each layer fires, as a profile counted it, or else as assumed. */
export function firingOfLayers(
  model: Model,
  profile: Profile | undefined,
  otherwise: Distribution,
): Firing[] {
  if (!profile) return assumedFiring(model, otherwise);
  const all = { start: 0, end: model.feedForwardSize };
  return model.layers.map((_, layer) => firingOf(profile, layer, all));
}
