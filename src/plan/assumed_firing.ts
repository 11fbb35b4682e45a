/**
 * How often neurons fire where no profile tells.
 *
 * @module
 */
import { isSparse } from "../model/activation.ts";
import type { Model } from "../model/model.ts";
import { firingProbabilities, gatePower } from "./firing.ts";
import type { Firing } from "./profile.ts";
import { firingOf, type Profile } from "./profile.ts";

/** Shares of Bamboo-7B's neurons that fire, and whose gates are positive. */
const bamboo = { active: 0.148, gatePositive: 0.39 };

/**
 * - `bamboo`: distributed as in Bamboo-7B, the hottest neurons first in the file;
 * - `even`: every neuron as often as Bamboo's do on average, for it is not known which are hot.
 */
export type Distribution = "bamboo" | "even";

/** How often each neuron of each layer is assumed to fire, in the file's order. */
export function assumedFiring(
  model: Model,
  distribution: Distribution,
): Firing[] {
  const { layers, feedForwardSize, activation } = model;
  const order = Uint32Array.from({ length: feedForwardSize }, (_, id) => id);
  const firing = (active: Float32Array, gatePositive: Float32Array) => ({
    order,
    rank: order,
    active,
    gatePositive: activation === "reglu" ? active : gatePositive,
  });
  const constant = (share: number) =>
    new Float32Array(feedForwardSize).fill(share);
  if (!isSparse(activation)) {
    return layers.map(() => firing(constant(1), constant(1)));
  }
  if (distribution === "even") {
    return layers.map(() =>
      firing(constant(bamboo.active), constant(bamboo.gatePositive))
    );
  }
  const active = firingProbabilities(
    layers.length,
    feedForwardSize,
    bamboo.active,
  );
  const power = gatePower(active, bamboo.gatePositive);
  return active.map((shares) =>
    firing(
      Float32Array.from(shares),
      Float32Array.from(shares, (share) => share ** power),
    )
  );
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
