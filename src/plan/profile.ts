/**
 * An activation profile: how often each neuron of each layer fires, and how a
 * layer's activations are spread over its neurons. Counts of one text, or of
 * several added up.
 */
import { FormatError } from "../errors.ts";
import type { Model } from "../model/model.ts";
import { type IndexSet, listOf } from "../model/index_set.ts";

/** How often the neurons of a part fire, hottest first. All arrays are as long as the part. */
export interface Firing {
  /** The file's neuron indices */
  readonly order: Uint32Array;
  /** Share of tokens for which the gate is positive, in that order */
  readonly gatePositive: Float32Array;
  /** Share of tokens for which h is not zero, in that order */
  readonly active: Float32Array;
  /** Number of each among all neurons of the layer, hottest first, in that order */
  readonly rank: Uint32Array;
}

/** Counts of one layer, by the file's neuron index, `[feedForwardSize]`. */
export interface LayerProfile {
  /** For how many tokens the gate was positive */
  readonly gatePositive: Uint32Array;
  /** For how many tokens h was not zero */
  readonly active: Uint32Array;
}

/** How often each neuron fired over `tokens` tokens. */
export interface Profile {
  /** Tokens that were counted */
  readonly tokens: number;
  /** Counts, first layer to last */
  readonly layers: readonly LayerProfile[];
}

/**
 * Adds profiles of one model up.
 *
 * @throws {FormatError} where they are of different shapes
 */
export function mergeProfiles(profiles: readonly Profile[]): Profile {
  const [first] = profiles;
  for (const { layers } of profiles) {
    const same = layers.length === first.layers.length &&
      layers.every(({ active }, i) =>
        active.length === first.layers[i].active.length
      );
    if (!same) {
      throw new FormatError(
        `Cannot merge profiles: one has ${first.layers.length} layers of ${
          first.layers[0]?.active.length
        } neurons, another ${layers.length} of ${layers[0]?.active.length}`,
      );
    }
  }
  const sum = (layer: number, name: keyof LayerProfile) =>
    first.layers[layer][name].map((_, neuron) =>
      profiles.reduce((total, p) => total + p.layers[layer][name][neuron], 0)
    );
  return {
    tokens: profiles.reduce((total, { tokens }) => total + tokens, 0),
    layers: first.layers.map((_, layer) => ({
      gatePositive: sum(layer, "gatePositive"),
      active: sum(layer, "active"),
    })),
  };
}

/**
 * Checks that a profile has a model's shape.
 *
 * @throws {FormatError} where it has not, with both numbers
 */
export function checkProfile(profile: Profile, model: Model): void {
  const { layers } = profile;
  const neurons = layers[0]?.active.length ?? 0;
  checkNeurons("the profile", layers.length, neurons, model);
}

/** Checks that what is given for a model's neurons has as many layers and neurons. */
export function checkNeurons(
  what: string,
  layers: number,
  neurons: number,
  model: Model,
): void {
  const { layers: { length }, feedForwardSize } = model;
  if (layers === length && neurons === feedForwardSize) return;
  throw new FormatError(
    `Cannot use ${what}: it has ${layers} layers of ${neurons} neurons, the model ${length} of ${feedForwardSize}`,
  );
}

/** All neurons of a layer, hottest first. */
export function hottestFirst(profile: Profile, layer: number): Uint32Array {
  const { gatePositive, active } = profile.layers[layer];
  return active.map((_, id) => id).sort((a, b) =>
    active[b] - active[a] || gatePositive[b] - gatePositive[a] || a - b
  );
}

/** How often the neurons of a set fire in one layer, hottest first; `ranking` has all of the layer so. */
export function firingOf(
  profile: Profile,
  layer: number,
  neurons: IndexSet,
  ranking = hottestFirst(profile, layer),
): Firing {
  const { gatePositive, active } = profile.layers[layer];
  const isHeld = new Uint8Array(active.length);
  for (const id of listOf(neurons)) isHeld[id] = 1;
  const rank = ranking.map((_, i) => i).filter((i) => isHeld[ranking[i]]);
  const order = rank.map((i) => ranking[i]);
  const share = (counts: Uint32Array) =>
    Float32Array.from(order, (id) => counts[id] / Math.max(1, profile.tokens));
  const shares = { gatePositive: share(gatePositive), active: share(active) };
  return { order, rank, ...shares };
}

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
 * import { activationCdf, activationShare } from "@culm/culm/plan";
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
