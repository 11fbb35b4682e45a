/**
 * Which experts stay in memory where a budget does not hold all of them. The
 * others are read from the file when a token chooses them.
 */
import { LimitError } from "../errors.ts";
import { expertSize } from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import { cacheShare } from "./neuron_budget.ts";
import type { Profile } from "./profile.ts";

/** The experts of a layer that are in memory. */
export interface ResidentExperts {
  /** Those that are there at first, ascending; there is room for as many */
  readonly loaded: readonly number[];
  /** Those of them that stay, ascending: the room of the others is a cache */
  readonly pinned: readonly number[];
}

/** What a model may take in memory, and what it needs there, in bytes. */
export interface ExpertBudget {
  readonly budget: number;
  /** What is not of experts: other weights, keys and values, scratch */
  readonly fixed: number;
  /** An expert of each layer */
  readonly expertBytes: readonly number[];
}

/**
 * For a model that has experts: decides by how often a profile has each expert chosen, and otherwise treats
 * layers alike; shared experts stay. Each layer has room for the experts of one
 * token at least. Undefined where all of them fit.
 *
 * @throws {LimitError} where the budget is smaller than that
 */
export function residentExperts(
  model: Model,
  { budget, fixed, expertBytes }: ExpertBudget,
  profile?: Profile,
): ResidentExperts[] | undefined {
  const { expertCount } = model, routing = model.routing!;
  const layers = sum(expertBytes);
  if (fixed + expertCount * layers <= budget) return undefined;
  const least = fixed + routing.used * layers;
  if (least > budget) {
    throw new LimitError(
      `Cannot run the model in a memory budget of ${budget} bytes: it needs ${least} for attention, output head, keys, values and the ${routing.used} experts of a token in each layer`,
    );
  }
  const uses = model.layers.map((_, layer) =>
    expertUses(model, layer, profile)
  );
  const ranked = uses.map((counts) =>
    counts.map((_, expert) => expert)
      .sort((a, b) => counts[a] === counts[b] ? a - b : counts[b] - counts[a])
  );
  const counts = ranked.map(() => routing.used);
  let room = budget - least;
  const others = ranked.flatMap((experts, layer) =>
    experts.slice(routing.used).map((expert, rank) => ({
      layer,
      rank,
      worth: uses[layer][expert] / expertBytes[layer],
    }))
  ).sort((a, b) => b.worth - a.worth || a.rank - b.rank);
  for (const { layer } of others) {
    if (expertBytes[layer] > room) continue;
    room -= expertBytes[layer];
    counts[layer]++;
  }
  return ranked.map((experts, layer) => {
    const count = counts[layer], { used, shared = 0 } = routing;
    const cache = Math.max(used - shared, Math.ceil(cacheShare * count));
    const most = profile ? Math.max(shared, count - cache) : shared;
    const stay = count === expertCount ? count : most;
    const first = (n: number) => experts.slice(0, n).sort((a, b) => a - b);
    return { loaded: first(count), pinned: first(stay) };
  });
}

/** For how many tokens each expert of a layer was chosen, as far as its neurons tell; 0 without a profile, and more than any where it is shared. */
function expertUses(
  model: Model,
  layer: number,
  profile?: Profile,
): number[] {
  const size = expertSize(model), { expertCount, routing } = model;
  const routed = expertCount - (routing?.shared ?? 0);
  return Array.from({ length: expertCount }, (_, expert) => {
    if (expert >= routed) return Infinity;
    const own = profile?.layers[layer].gatePositive
      .subarray(expert * size, (expert + 1) * size);
    return own ? own.reduce((most, count) => Math.max(most, count), 0) : 0;
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
