/**
 * The order in which a model's parts are added up, and what the CPU places and
 * the GPU hand one another on the way. Follows from the plan alone.
 */
import { expertSize, withinExpert } from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import { lengthOf } from "../model/index_set.ts";
import { groupSums, inTurn, termMerges } from "./groups.ts";
import type { PlacePlan, Plan } from "./plan.ts";

/** The CPU places, which share one residual, or the GPU, which has its own. */
export type Side = "cpu" | "gpu";

/** Both. */
export const sides: readonly Side[] = ["cpu", "gpu"];

/** What places hand one another:
 * - `inputs`: every CPU place gets what the heads, or neurons, of all computed;
 * - `all-reduce`: every CPU place adds what all of them computed to its residual;
 * - `sum-to-gpu`: the GPU adds what the CPU places computed to its residual;
 * - `residual-to-gpu`, `residual-to-cpu`: one side takes the other's residual;
 * - `qk-squares`, `head-squares`, `neuron-squares`: the sides of a stage get the
 *   sums of squares of what all heads, or neurons, computed, by which these are
 *   normed as one: of queries and keys, of attention, of the values h;
 * - `choices`: the GPU takes which experts the CPU places' routers chose: both
 *   compute some neurons of the same ones;
 * - `top-k`: the sides of a stage find the largest |h| and drop the others;
 * - `masks`: all CPU places pick logits under the same masks;
 * - `candidates`: every CPU place learns which logit the largest of all reach;
 * - `logits`: the columns of all make whole rows.
 */
export type Exchange =
  | "inputs"
  | "all-reduce"
  | "sum-to-gpu"
  | "residual-to-gpu"
  | "residual-to-cpu"
  | Squares
  | "choices"
  | "top-k"
  | "masks"
  | "candidates"
  | "logits";

/** Exchanges of squares. */
export type Squares = "qk-squares" | "head-squares" | "neuron-squares";

/** Who takes part in an exchange. */
export interface ExchangeSides {
  /** Who puts something */
  readonly from: readonly Side[];
  /** Who takes it */
  readonly to: readonly Side[];
  /** Whose places wait in between until all of them are there; none, where the end of the step is soon enough */
  readonly barrier: readonly Side[];
}

const cpu: readonly Side[] = ["cpu"];
const gpu: readonly Side[] = ["gpu"];
const both: ExchangeSides = { from: sides, to: sides, barrier: sides };

/** The sides of each exchange; of `top-k` and squares, as far as they hold parts of the stage. */
export const exchangeSides: Readonly<Record<Exchange, ExchangeSides>> = {
  "inputs": { from: cpu, to: cpu, barrier: cpu },
  "all-reduce": { from: cpu, to: cpu, barrier: cpu },
  "sum-to-gpu": { from: cpu, to: gpu, barrier: sides },
  "residual-to-gpu": { from: cpu, to: gpu, barrier: sides },
  "residual-to-cpu": { from: gpu, to: cpu, barrier: sides },
  "qk-squares": both,
  "head-squares": both,
  "neuron-squares": both,
  "choices": { from: cpu, to: gpu, barrier: sides },
  "top-k": both,
  "masks": { from: cpu, to: [], barrier: cpu },
  "candidates": { from: cpu, to: cpu, barrier: cpu },
  "logits": { from: sides, to: [], barrier: [] },
};

/** What is computed between two exchanges. */
export type StageKind = "embed" | "attention" | "ffn" | "head";

/** One term of the sum that a model is. */
export interface Stage {
  readonly kind: StageKind;
  /** The layer of `attention` and `ffn` */
  readonly layer: number;
  /** The sides that hold parts of it */
  readonly sides: readonly Side[];
  /** What a side needs before */
  readonly before?: Exchange;
  /** The side whose routers choose experts, by what the stage begins with */
  readonly router?: Side;
  /** How those that are chosen come to the other side */
  readonly choices?: Exchange;
  /** What norms need of all heads, or neurons; in the order in which they are needed */
  readonly squares: readonly Squares[];
  /** What a side needs before its outputs, where each CPU place computes some of all */
  readonly between?: Exchange;
  /** What makes its result part of the residual; the GPU adds to its own as it computes */
  readonly after?: Exchange;
  /** Of the terms that CPU places add up behind it, the number of each place's first one; behind `inputs` all have some outputs of one */
  readonly firstTerms: readonly number[];
  /** By term, how many pairs are added up behind it: those of groups of neurons along their tree */
  readonly merges: readonly number[];
}

/**
 * The schedule of a plan. A residual is handed over only to a side that is about
 * to read it: while only the GPU computes, the CPU's grows old, and the other
 * way round.
 */
export function scheduleOf(model: Model, plan: Plan): Stage[] {
  const has: Record<Side, boolean> = { cpu: true, gpu: true };
  const gathers = plan.places.some(({ outputs }) => outputs);
  const stage = (
    kind: StageKind,
    layer: number,
    held: (place: PlacePlan) => number,
  ): Stage => {
    const sides: Side[] = [];
    if (plan.places.some((place) => held(place) > 0)) sides.push("cpu");
    if (plan.gpu && held(plan.gpu) > 0) sides.push("gpu");
    const router = routerOf(model, plan, kind, layer);
    const readers = router ? [...sides, router] : sides;
    const missing = readers.find((side) => !has[side]);
    if (missing) has[missing] = true;
    const onCpu = sides.includes("cpu"), onGpu = sides.includes("gpu");
    let after: Exchange | undefined;
    if (kind !== "head") {
      if (onCpu) after = onGpu ? "sum-to-gpu" : "all-reduce";
      has.gpu = onGpu;
      has.cpu = !onGpu;
    }
    // Heads, or neurons, are the inputs of a matrix of outputs.
    const hasInputs = kind === "attention" ||
      kind === "ffn" && model.layers[layer].ffn_down !== undefined;
    const isGathered = gathers && onCpu && hasInputs;
    return {
      kind,
      layer,
      sides,
      before: missing && `residual-to-${missing}`,
      router,
      choices: model.routing && kind === "ffn" && onCpu && onGpu
        ? "choices"
        : undefined,
      squares: squaresOf(model, kind, layer),
      between: isGathered ? "inputs" : undefined,
      after,
      ...isGathered
        ? { firstTerms: plan.places.map(() => 0), merges: [0] }
        : termsOf(model, plan, kind, layer),
    };
  };
  return [
    stage("embed", 0, ({ vocab }) => lengthOf(vocab)),
    ...model.layers.flatMap((_, layer) => [
      stage("attention", layer, ({ parts }) => lengthOf(parts[layer].heads)),
      stage("ffn", layer, ({ parts }) => lengthOf(parts[layer].neurons)),
    ]),
    stage("head", 0, ({ vocab }) => lengthOf(vocab)),
  ];
}

/** The side that chooses a layer's experts, if it does so in this stage: where its neurons are, and of both the CPU. */
function routerOf(
  { routing }: Model,
  { places }: Plan,
  kind: StageKind,
  layer: number,
): Side | undefined {
  const stage = routing?.readsLayerInput ? "attention" : "ffn";
  if (!routing || kind !== stage) return undefined;
  return places.some(({ parts }) => lengthOf(parts[layer].neurons) > 0)
    ? "cpu"
    : "gpu";
}

/** What is normed as one in a stage, whichever places hold it. */
export function squaresOf(
  { qkNorm, layers }: Model,
  kind: StageKind,
  layer: number,
): Squares[] {
  const { attn_sub_norm, ffn_sub_norm } = layers[layer];
  if (kind === "ffn") return ffn_sub_norm ? ["neuron-squares"] : [];
  if (kind !== "attention") return [];
  return [
    ...(qkNorm === "whole" ? ["qk-squares"] as const : []),
    ...(attn_sub_norm ? ["head-squares"] as const : []),
  ];
}

/** The terms that the CPU places add up: sums of whole groups of neurons, or one of each. */
function termsOf(
  model: Model,
  { places }: Plan,
  kind: StageKind,
  layer: number,
): Pick<Stage, "firstTerms" | "merges"> {
  if (kind !== "ffn" || !model.layers[layer].ffn_down_t) {
    return {
      firstTerms: places.map((_, i) => i),
      merges: inTurn(places.length),
    };
  }
  const size = expertSize(model);
  const sums = places.map(({ parts }) =>
    groupSums(size, withinExpert(model, parts[layer].neurons))
  );
  let next = 0;
  const firstTerms = sums.map(({ terms }) => (next += terms) - terms);
  return { firstTerms, merges: termMerges(size, sums) };
}
