/**
 * An activation profile: how often each neuron of each layer fires. Counts of
 * one text, or of several added up.
 *
 * @module
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
  if (
    layers.length !== model.layers.length ||
    neurons !== model.feedForwardSize
  ) {
    throw new FormatError(
      `Cannot use the profile: it has ${layers.length} layers of ${neurons} neurons, the model ${model.layers.length} of ${model.feedForwardSize}`,
    );
  }
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
  return {
    order,
    rank,
    gatePositive: share(gatePositive),
    active: share(active),
  };
}
