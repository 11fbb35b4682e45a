/**
 * A plan says which place holds which parts of a model. A layer is a sum over
 * heads and a sum over neurons, and the output head a list of vocabulary rows,
 * so any cut of these gives the same model.
 */
import { UsageError } from "../errors.ts";
import type { Model } from "../model/model.ts";
import {
  expertSize,
  heldExperts,
  neuronsOf,
  withinExpert,
} from "../model/experts.ts";
import type { ResidentExperts } from "./expert_budget.ts";
import {
  type LayerNeurons,
  type ResidentNeurons,
  residentOfPlace,
} from "./neuron_budget.ts";
import { groupCount, groupStart } from "./groups.ts";
import {
  compact,
  complementOf,
  type IndexSet,
  lengthOf,
  listOf,
  noIndices,
  type Range,
  sectionOf,
} from "../model/index_set.ts";
import {
  type Firing,
  firingOf,
  hottestFirst,
  type Profile,
} from "./profile.ts";

/** What one place holds of one layer. Indices are the file's own. */
export interface Part {
  /** Query heads; the key and value heads that serve them come along. */
  readonly heads: Range;
  /**
   * Neurons of the FFN: the same of each expert of whom the place has any. CPU
   * places have some of the same experts, so that all work on those that are chosen.
   */
  readonly neurons: IndexSet;
  /** The experts whose neurons are in memory; all, where left out */
  readonly experts?: ResidentExperts;
  /** The neurons whose rows are in memory, where there are no experts; all, where left out */
  readonly resident?: ResidentNeurons;
  /** How often they fire, where a profile says so: the place stores them in that order. */
  readonly firing?: Firing;
  /** How many of them, hottest first, a CPU place reads without asking: `hot_rows.ts` decides */
  readonly hotRows?: number;
  /** Whether all of them are computed without asking a predictor */
  readonly hot?: boolean;
  /** What `outputs` of the place's plan are computed from; its own heads and neurons, where left out */
  readonly inputs?: PartInputs;
}

/** Heads and neurons of several places, which hand one another what they computed. */
export interface PartInputs {
  /** Query heads */
  readonly heads: Range;
  /** Neurons of the FFN */
  readonly neurons: IndexSet;
}

/** The experts of a layer whom a place takes part in, if its neurons are of several. */
export function expertsOf(
  model: Model,
  { neurons, inputs }: Pick<Part, "neurons" | "inputs">,
): readonly number[] {
  return heldExperts(model, inputs?.neurons ?? neurons);
}

/** The neurons of a part in the order in which a place stores them. */
export function neuronsInOrder({ neurons, firing }: Part): Uint32Array {
  return firing?.order ?? listOf(neurons);
}

/** The same with all of it in memory. */
export function withAllResident(plan: PlacePlan): PlacePlan {
  const parts = plan.parts.map((part) => ({
    ...part,
    experts: undefined,
    resident: undefined,
  }));
  return { ...plan, parts };
}

/** The neurons of a part that are in memory at first. */
export function loadedNeurons(part: Part): IndexSet {
  const { resident, neurons } = part;
  if (!resident) return neurons;
  return compact(neuronsInOrder(part).slice(0, resident.loaded).sort());
}

/** What one place holds. */
export interface PlacePlan {
  /** A part for each layer. */
  readonly parts: readonly Part[];
  /** Rows of the embedding and of the output head. */
  readonly vocab: Range;
  /**
   * Rows of `attn_output` and `ffn_down` that it computes, whole ones over the
   * `inputs` of all: so they are rounded the same way for any number of places.
   * All rows, over its own inputs, where left out.
   */
  readonly outputs?: Range;
}

/** What of a model is in memory where a budget does not hold all: of experts, or of neurons where there are none. */
export interface Residents {
  /** By layer */
  readonly experts?: readonly ResidentExperts[];
  /** By layer */
  readonly neurons?: readonly LayerNeurons[];
}

/** Whether it reads some of its weights from the file when they are needed. */
export function readsFile({ parts }: PlacePlan): boolean {
  return parts.some(({ experts, resident }) => experts || resident);
}

/** Which place holds what. Together the places hold everything once. */
export interface Plan {
  /** CPU places, which are of one speed */
  readonly places: readonly PlacePlan[];
  /** The GPU's, where one takes part */
  readonly gpu?: PlacePlan;
  /** What is in memory of each layer, where that is not all */
  readonly residents?: Residents;
}

/** What each place of a plan holds, the GPU last. */
export function allPlaces({ places, gpu }: Plan): readonly PlacePlan[] {
  return gpu ? [...places, gpu] : places;
}

/** The key and value heads that a range of query heads reads. */
export function kvHeadsOf(model: Model, heads: Range): Range {
  const group = model.headCount / model.kvHeadCount;
  return lengthOf(heads) === 0 ? noIndices : {
    start: Math.floor(heads.start / group),
    end: Math.ceil(heads.end / group),
  };
}

/**
 * Cuts `count` indices into `shares` ranges as even as `unit` allows: borders
 * are multiples of `unit`, but for the last one.
 */
export function splitRange(
  count: number,
  shares: number,
  unit: number,
): Range[] {
  const border = (share: number) =>
    share === shares
      ? count
      : Math.min(count, Math.round(count * share / shares / unit) * unit);
  return Array.from(
    { length: shares },
    (_, share) => ({ start: border(share), end: border(share + 1) }),
  );
}

/**
 * Blocks of quantised weights and activations are 32 wide: borders of neurons
 * that fall between them quantise the same values whatever the number of places.
 */
const neuronUnit = 32;

/** Outputs that lie in one cache line. */
const outputUnit = 16;

/**
 * Every CPU place gets the same share of each layer, for places of one speed:
 * of all of it, or of what `gpu` leaves. With a profile, each orders its
 * neurons by how often they fire.
 *
 * @throws {UsageError} where the GPU's heads or vocabulary rows are not the first ones
 */
export function splitEvenly(
  model: Model,
  places: number,
  profile?: Profile,
  gpu?: PlacePlan,
  residents?: Residents,
): Plan {
  const { experts, neurons: layerNeurons } = residents ?? {};
  const cut = (rest: Range) =>
    splitRange(lengthOf(rest), places, 1).map((range) =>
      sectionOf(rest, range) as Range
    );
  const vocab = cut(restOf("vocabulary rows", model.vocabSize, gpu?.vocab));
  const outputs = places > 1
    ? splitRange(model.hiddenSize, places, outputUnit)
    : undefined;
  const layers = model.layers.map((tensors, layer): Part[] => {
    const part = gpu?.parts[layer];
    const neurons = complementOf(
      part?.neurons ?? noIndices,
      model.feedForwardSize,
    );
    const heads = restOf("heads", model.headCount, part?.heads);
    const cutHeads = cut(heads);
    // Those of one expert lie together, in the file's order.
    const hotness = model.expertCount === 1 ? profile : undefined;
    const ranking = hotness && hottestFirst(hotness, layer);
    const size = expertSize(model);
    const held = heldExperts(model, neurons);
    const within = withinExpert(model, neurons);
    const split = (tensors.ffn_down_t && lengthOf(within) === size
      ? splitGroups(size, places)
      : splitNeurons(within, places))
      .map((own) =>
        neuronsOf(model, held, own)
      );
    return split.map((own, i) => ({
      inputs: outputs && { heads, neurons },
      heads: cutHeads[i],
      neurons: own,
      experts: experts?.[layer],
      resident: residentOfPlace(layerNeurons?.[layer], own, size),
      firing: hotness && firingOf(hotness, layer, own, ranking),
    }));
  });
  return {
    gpu,
    residents,
    places: vocab.map((rows, i) => ({
      vocab: rows,
      outputs: outputs?.[i],
      parts: layers.map((parts) => parts[i]),
    })),
  };
}

/** Cuts neurons, all of which are multiplied by one matrix: where no blocks are torn apart. */
function splitNeurons(neurons: IndexSet, places: number): IndexSet[] {
  const count = lengthOf(neurons);
  const unit = count >= neuronUnit * places ? neuronUnit : 1;
  return splitRange(count, places, unit)
    .map((range) => sectionOf(neurons, range));
}

/** Cuts neurons that are summed one by one: between groups. */
function splitGroups(count: number, places: number): IndexSet[] {
  return splitRange(groupCount(count), places, 1).map(({ start, end }) => ({
    start: groupStart(count, start),
    end: groupStart(count, end),
  }));
}

/** What is left of `count` indices where the first are taken. */
function restOf(name: string, count: number, taken = noIndices): Range {
  if (lengthOf(taken) === 0) return { start: 0, end: count };
  if (taken.start !== 0) {
    throw new UsageError(
      `Cannot plan ${name} ${taken.start} to ${
        taken.end - 1
      } on the GPU: it holds the first ones, from 0`,
    );
  }
  return { start: taken.end, end: count };
}

/** Whether a place holds nothing at all. */
export function isEmpty({ parts, vocab }: PlacePlan): boolean {
  return lengthOf(vocab) === 0 &&
    parts.every(({ heads, neurons }) =>
      lengthOf(heads) + lengthOf(neurons) === 0
    );
}
