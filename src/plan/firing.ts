/**
 * How often each neuron fires: a layer's distribution is that of Bamboo-7B,
 * steeper in some layers than in others.
 *
 * @module
 */
import { bisect } from "../bisect.ts";
import { UsageError } from "../errors.ts";

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
    mean(
      probabilities.map((layer) => mean(layer.map((p) => p ** power))),
    );
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
  return scaled(
    bisect(0, enough, (factor) => mean(scaled(factor)) > wanted),
  );
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}
