/**
 * How a layer's activations are spread over its neurons: the share of all
 * activations that the hottest neurons take.
 *
 * @module
 */
import type { Profile } from "./profile.ts";

/**
 * Of one layer: at k, the share of all activations that the k neurons take that
 * fire most, `[feedForwardSize + 1]`, from 0 to 1; all 0 where nothing fired.
 */
export type ActivationCdf = Float64Array;

/**
 * The distribution of each layer of a profile.
 *
 * @example
 * ```ts
 * import { activationCdf, activationShare } from "@culm/culm";
 *
 * const active = Uint32Array.of(2, 6, 0, 0);
 * const profile = { tokens: 8, layers: [{ active, gatePositive: active }] };
 * const [cdf] = activationCdf(profile);
 * console.log(activationShare(cdf, 0.25)); // 0.75: the hottest of four neurons
 * ```
 */
export function activationCdf({ layers }: Profile): ActivationCdf[] {
  return layers.map(({ active }) => {
    const hottestFirst = active.toSorted().reverse();
    const cdf = new Float64Array(active.length + 1);
    hottestFirst.forEach((count, k) => cdf[k + 1] = cdf[k] + count);
    const total = cdf[active.length];
    return total > 0 ? cdf.map((sum) => sum / total) : cdf;
  });
}

/** The share of a layer's activations that the hottest `share` of its neurons takes; linear between two neurons. */
export function activationShare(cdf: ActivationCdf, share: number): number {
  const neurons = share * (cdf.length - 1);
  const below = Math.min(Math.floor(neurons), cdf.length - 2);
  return cdf[below] + (neurons - below) * (cdf[below + 1] - cdf[below]);
}

/** The mean of {@linkcode activationShare} over layers. */
export function meanActivationShare(
  cdfs: readonly ActivationCdf[],
  share: number,
): number {
  const sum = cdfs.reduce((all, cdf) => all + activationShare(cdf, share), 0);
  return sum / cdfs.length;
}
