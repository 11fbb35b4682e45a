/**
 * The plan of a model: how the CPU's threads split it, what the GPU takes, and
 * where hot rows end. A pure function of a header, a machine and options; the
 * places carry it out.
 */
import {
  expertSize,
  heldExperts,
  neuronsOf,
  withinExpert,
} from "../model/experts.ts";
import { type IndexSet, lengthOf, listOf } from "../model/index_set.ts";
import type { Model } from "../model/model.ts";
import { firingOfLayers } from "./firing.ts";
import { UnsupportedError } from "../errors.ts";
import { type CostOptions, costsOf } from "./costs.ts";
import { type HotRowOptions, withHotRows } from "./hot_rows.ts";
import type { Machine } from "./machine.ts";
import {
  isEmpty,
  type PlacePlan,
  type Plan,
  type Residents,
  splitEvenly,
} from "./plan.ts";
import type { Profile } from "./profile.ts";
import { solve, type SolveOptions } from "./solve.ts";

/** What limits a GPU's share, and what its costs depend on. */
export type GpuOptions =
  & SolveOptions
  & Pick<CostOptions, "positions" | "positionBytes">;

/** What a plan is made for. */
export interface PlanOptions extends HotRowOptions {
  /** CPU places of equal share */
  readonly places: number;
  /** Orders the neurons, and says which are hot */
  readonly profile?: Profile;
  /** What is in memory of each layer; all where left out */
  readonly residents?: Residents;
  /** What the GPU holds, or what its share is limited by; nothing where left out */
  readonly gpu?: PlacePlan | GpuOptions;
}

/**
 * Plans a model. Without the machine no row is hot yet: CPU places measure
 * themselves on rows that they hold, and `withHotRows` is the rest of the plan.
 *
 * @throws {UnsupportedError} where the GPU's share that is given is cut otherwise than between experts, or in the same way in each
 * @throws {LimitError} where the neurons that the GPU has to take do not fit
 */
export function makePlan(
  model: Model,
  machine: Machine | undefined,
  options: PlanOptions,
): Plan {
  const { places, profile } = options;
  const plan = splitEvenly(
    model,
    places,
    profile,
    gpuShare(model, machine, options),
    options.residents,
  );
  const used = plan.places.every(isEmpty) ? { ...plan, places: [] } : plan;
  return machine ? withHotRows(model, used, machine.cpu, options) : used;
}

function gpuShare(
  model: Model,
  machine: Machine | undefined,
  { gpu, sparsity, profile }: PlanOptions,
): PlacePlan | undefined {
  if (gpu && "parts" in gpu) {
    checkExperts(model, gpu.parts.map(({ neurons }) => neurons));
    return gpu;
  }
  if (gpu?.neurons) checkExperts(model, gpu.neurons);
  if (!gpu || !machine?.gpu) return undefined;
  const firing = firingOfLayers(model, profile, "even");
  const costs = costsOf(model, { ...gpu, machine, sparsity, firing });
  return solve(model, costs, gpu).gpu;
}

/** Of a layer's experts a side holds some whole, or the same neurons of each. */
function checkExperts(model: Model, layers: readonly IndexSet[]): void {
  const { expertCount } = model;
  if (expertCount === 1) return;
  const wrong = layers.findIndex((neurons) => {
    const held = heldExperts(model, neurons);
    const isWhole = lengthOf(neurons) === held.length * expertSize(model);
    if (isWhole || lengthOf(neurons) === 0) return false;
    if (held.length < expertCount) return true;
    const all = neuronsOf(model, held, withinExpert(model, neurons));
    return listOf(all).join() !== listOf(neurons).join();
  });
  if (wrong < 0) return;
  throw new UnsupportedError(
    `Cannot plan a GPU's share: its ${
      lengthOf(layers[wrong])
    } neurons of layer ${wrong} are neither the same of each of the ${expertCount} experts nor all of some`,
  );
}
