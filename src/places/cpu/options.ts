/** What a CPU place is made of, and what its parts have in common. */
import type { LocalFile } from "../../bytes/local_files.ts";
import type {
  Activations,
  F32Rows,
  PackedMatrix,
  ProductInput,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import type { RowSums } from "../../kernels/row_sums.ts";
import { isSparse } from "../../model/activation.ts";
import type { Range } from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import type { Rates } from "../../plan/machine.ts";
import type { PlacePlan } from "../../plan/plan.ts";
import type { Sparsity } from "../../plan/sparsity.ts";
import type { BatchLimits } from "../batch.ts";
import type { CacheType } from "../cache_type.ts";
import type { FfnInputs } from "../ffn_inputs.ts";
import type { NeuronCounts } from "../neuron_counts.ts";
import type { ScoreCounts } from "../score_counts.ts";
import type { LayerCounts } from "../stats.ts";
import type { GroupRows } from "./group_rows.ts";
import type { ScreenMode } from "./screen_choice.ts";
import type { PackedWeights } from "./weights.ts";

/** What a CPU place is made of, all of it fit to be posted to a worker. */
export interface CpuPlaceOptions {
  readonly model: Model;
  readonly plan: PlacePlan;
  readonly sparsity: Sparsity;
  readonly limits: BatchLimits;
  readonly cacheType: CacheType;
  /** Count what the predictor misses, at the price of computing everything. */
  readonly measureRecall: boolean;
  /** The share of each layer's neurons that is hot; measured where left out. */
  readonly hotShare?: number;
  /** Bytes of weights in one memory, at most; more go to further banks. */
  readonly bankBytes?: number;
  /** Whether the head's rows are screened where the largest logits are wanted; where that is faster, if left out. */
  readonly screenHead?: ScreenMode;
  /** How fast its rows are read, and by which kernels; measured where left out. */
  readonly rates?: Rates;
  /** Measure what only a plan requires: how fast rows of down are added up, a GPU's speed. Takes a while. */
  readonly forPlan?: boolean;
  /** Where experts are read from that the plan does not have in memory */
  readonly files?: readonly LocalFile[];
}

/** Whether all rows of gate and up are read. */
export function isDense(
  { model, sparsity }: Pick<CpuPlaceOptions, "model" | "sparsity">,
): boolean {
  return sparsity.mode === "dense" || !isSparse(model.activation);
}

/** What a place counts and keeps while it computes. */
export interface Counters {
  readonly layers: LayerCounts;
  /** Every neuron, as long as the caller wants that */
  readonly neurons?: NeuronCounts;
  /** Scores of neurons that fire, where recall is measured */
  readonly scores?: ScoreCounts;
  /** What the feed-forward layers read, the same in every place: one keeps it */
  readonly ffnInputs?: FfnInputs;
}

/** Which of an expert's rows: of what gives the values h, or of down. */
export type ExpertRows = "values" | "down";

/** Reads ranges of a file before the place does: how it does, and whether, changes nothing but how long that takes. */
export interface ReadAhead {
  /** Says that a range will be read, behind those that it was said of before. */
  want(offset: number, length: number): void;
  /** Says that none of those is to be read any more. */
  forget(): void;
}

/** Room for some experts of each layer. */
export interface ExpertRoom {
  /** Says which experts of a layer will be asked for next, in this order: their rows may be read ahead. */
  expect(layer: number, experts: readonly number[]): void;
  /**
   * Where rows of an expert are; reads them, where they are not in memory, in
   * place of others that are best not `kept`.
   *
   * @throws {FormatError} where the file is not as it was, or a weight is infinite or NaN
   */
  slot(
    rows: ExpertRows,
    layer: number,
    expert: number,
    kept: ReadonlySet<number>,
  ): number;
}

/** Room for the rows of some neurons of each layer. */
export interface NeuronRoom {
  /** Whether there are rows of some neurons alone of a matrix. */
  holds(matrix: PackedMatrix): boolean;
  /**
   * out[t][row] = row · x[t] for the rows of each token, ascending: reads those
   * that are not in memory. Returns how many products that are.
   *
   * @throws {FormatError} where the file is not as it was, or a weight is infinite or NaN
   */
  multiply(
    matrix: PackedMatrix,
    x: ProductInput,
    rows: readonly Uint32Array[],
    out: F32Rows,
  ): number;
  /** Σ h[t][row] · row into the bank's sums, as `RowSums` adds rows up; returns the rows read. */
  addRows(
    matrix: PackedMatrix,
    groups: GroupRows,
    h: F32Rows,
    tokens: number,
  ): number;
}

/** One WASM memory: the weights of some layers, and what is computed with them. */
export interface Bank {
  readonly layers: Range;
  readonly memory: WasmMemory;
  readonly weights: PackedWeights;
  /** Which experts are in memory, where these are not all */
  readonly experts?: ExpertRoom;
  /** Which neurons are, where there are no experts */
  readonly neurons?: NeuronRoom;
  readonly residual: Activations;
  /** The residual after a norm */
  readonly normed: Activations;
  /** What was computed last, a term a level */
  readonly sums: RowSums;
}
