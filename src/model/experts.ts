/**
 * Mixtures of experts. Experts are neurons with one more index: those of expert
 * e are the layer's neurons e · size to (e + 1) · size - 1, and a router says, as
 * a predictor does, which of them a token needs. What it leaves out is zero.
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import type { TensorInfo } from "../formats/gguf/gguf_file.ts";
import type { HyperParameterReader } from "./hyper_parameters.ts";
import {
  compact,
  indexAt,
  type IndexSet,
  isList,
  lengthOf,
} from "./index_set.ts";

/** How a token chooses among a layer's experts. */
export interface Routing {
  /** How many it chooses: those of the largest scores, and the shared ones */
  readonly used: number;
  /** How many are shared, the last ones: every token chooses them, each for the sigmoid of its score; none where left out */
  readonly shared?: number;
  /** What makes an expert's weight of its score: its share among all, or each score by itself */
  readonly scoring: "softmax" | "sigmoid";
  /** Whether weights of the chosen ones are made to add up to 1 */
  readonly isNormalised: boolean;
  /** What weights are multiplied by, after that */
  readonly scale: number;
  /** Whether the router reads the layer's input as it is, and not what the FFN reads */
  readonly readsLayerInput?: boolean;
}

/** What `expert_gating_func` may be, by number; the third is the softmax of the chosen ones, as a normalised softmax is. */
const scorings = new Map<number, Routing["scoring"]>([
  [1, "softmax"],
  [2, "sigmoid"],
  [3, "softmax"],
]);

/** What a file says of the scores. */
export function scoringOf(keys: HyperParameterReader): Routing["scoring"] {
  const id = keys.count("expertScoring", 1);
  const scoring = scorings.get(id);
  if (scoring) return scoring;
  throw new UnsupportedError(
    `Cannot run expert_gating_func ${id} (${
      [...scorings.keys()].join(", ")
    } are)`,
  );
}

/** What there is of a layer's neurons. */
export interface ExpertSizes {
  readonly feedForwardSize: number;
  readonly expertCount: number;
}

/** Neurons of one expert. */
export function expertSize(
  { feedForwardSize, expertCount }: ExpertSizes,
): number {
  return feedForwardSize / expertCount;
}

/** Neurons that a token's experts have together: all, where there is no router. */
export function routedNeurons(
  model: ExpertSizes & { readonly routing?: Routing },
): number {
  return expertSize(model) * (model.routing?.used ?? 1);
}

/** All experts of a layer. */
export function everyExpert({ expertCount }: ExpertSizes): number[] {
  return Array.from({ length: expertCount }, (_, expert) => expert);
}

/**
 * The experts of whom a set has neurons, ascending; all, where it has none at
 * all. Places hold as many of each of these, in the same places.
 */
export function heldExperts(
  model: ExpertSizes,
  neurons: IndexSet,
): readonly number[] {
  if (model.expertCount === 1 || lengthOf(neurons) === 0) {
    return everyExpert(model);
  }
  const size = expertSize(model);
  const expertAt = (i: number) => Math.floor(indexAt(neurons, i) / size);
  if (!isList(neurons)) {
    const first = expertAt(0), last = expertAt(lengthOf(neurons) - 1);
    return everyExpert(model).slice(first, last + 1);
  }
  const held = [expertAt(0)];
  for (let i = 1; i < neurons.length; i++) {
    const expert = expertAt(i);
    if (expert !== held[held.length - 1]) held.push(expert);
  }
  return held;
}

/** The neurons of a set within one expert: as in all whom it has neurons of. */
export function withinExpert(model: ExpertSizes, neurons: IndexSet): IndexSet {
  if (model.expertCount === 1 || lengthOf(neurons) === 0) return neurons;
  const [expert, ...others] = heldExperts(model, neurons);
  const first = expert * expertSize(model);
  const count = lengthOf(neurons) / (1 + others.length);
  return compact(Uint32Array.from(
    { length: count },
    (_, i) => indexAt(neurons, i) - first,
  ));
}

/** The same neurons, or outputs, of each expert, of whom one has `size`. */
export function ofEachExpert(
  expertCount: number,
  size: number,
  within: IndexSet,
): IndexSet {
  if (expertCount === 1) return within;
  const count = lengthOf(within);
  if (count === size) return { start: 0, end: expertCount * size };
  return Uint32Array.from(
    { length: expertCount * count },
    (_, i) => Math.floor(i / count) * size + indexAt(within, i % count),
  );
}

/** The part of some experts, ascending, in a set that has as many indices of each of `held`. */
export function ofExperts(
  all: IndexSet,
  held: readonly number[],
  experts: readonly number[],
): IndexSet {
  if (experts.length === held.length) return all;
  const each = lengthOf(all) / held.length;
  const firsts = experts.map((expert) => held.indexOf(expert) * each);
  return compact(Uint32Array.from(
    { length: experts.length * each },
    (_, i) => indexAt(all, firsts[Math.floor(i / each)] + i % each),
  ));
}

/** The same neurons of some experts, ascending. */
export function neuronsOf(
  model: ExpertSizes,
  experts: readonly number[],
  within: IndexSet = { start: 0, end: expertSize(model) },
): IndexSet {
  const all = ofEachExpert(model.expertCount, expertSize(model), within);
  return ofExperts(all, everyExpert(model), experts);
}

/** Weights below this are not divided by, as in llama.cpp. */
const leastWeight = 2 ** -14;

/**
 * Chooses experts by their scores: writes which, ascending, and the weights of
 * each. Of equal scores the first one goes before; NaN goes before all, so that
 * it comes to light.
 */
export function chooseExperts(
  { used, shared = 0, scoring, isNormalised, scale }: Routing,
  scores: Float32Array,
  chosen: Uint32Array,
  weights: Float64Array,
): void {
  // The best so far, best first.
  const rank = (id: number) => Number.isNaN(scores[id]) ? Infinity : scores[id];
  const routed = scores.length - shared, count = used - shared;
  for (let id = 0; id < routed; id++) {
    let place = Math.min(id, count);
    while (place > 0 && rank(id) > rank(chosen[place - 1])) {
      if (place < count) chosen[place] = chosen[place - 1];
      place--;
    }
    if (place < count) chosen[place] = id;
  }
  const largest = scores[chosen[0]];
  chosen.subarray(0, count).sort();
  let all = 0;
  for (let id = 0; id < routed; id++) all += Math.exp(scores[id] - largest);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const score = scores[chosen[i]];
    weights[i] = scoring === "softmax"
      ? Math.exp(score - largest) / all
      : sigmoid(score);
    sum += weights[i];
  }
  const divisor = isNormalised ? Math.max(sum, leastWeight) : 1;
  for (let i = 0; i < count; i++) weights[i] *= scale / divisor;
  for (let i = 0; i < shared; i++) {
    chosen[count + i] = routed + i;
    weights[count + i] = sigmoid(scores[routed + i]);
  }
}

function sigmoid(score: number): number {
  return 1 / (1 + Math.exp(-score));
}

const perExpert = /^(blk\.\d+\.\w+)_exps\.(weight|bias)$/;

/**
 * A file's tensors as the schema has them: what has a last side of
 * `expertCount` experts as rows of one expert behind those of another.
 */
export function withoutExpertSides(
  tensors: ReadonlyMap<string, TensorInfo>,
  expertCount: number,
): ReadonlyMap<string, TensorInfo> {
  const found = new Map<string, TensorInfo>();
  for (const [name, tensor] of tensors) {
    const [, stem, kind] = perExpert.exec(name) ?? [];
    const own = stem ? `${stem}.${kind}` : name;
    if (found.has(own)) {
      throw new FormatError(
        `Cannot read the model: it has ${own} both for experts and without`,
      );
    }
    found.set(own, stem ? withoutLastSide(tensor, expertCount, kind) : tensor);
  }
  return found;
}

function withoutLastSide(
  tensor: TensorInfo,
  expertCount: number,
  kind: string,
): TensorInfo {
  const [columns, rows = 1, last = 1] = kind === "bias"
    ? [1, ...tensor.shape]
    : tensor.shape;
  if (last !== expertCount || tensor.shape.length > 3) {
    throw new FormatError(
      `Cannot read tensor ${tensor.name}: its shape is [${
        tensor.shape.join(", ")
      }], the model has ${expertCount} experts`,
    );
  }
  const shape = kind === "bias" ? [rows * last] : [columns, rows * last];
  return { ...tensor, shape };
}
