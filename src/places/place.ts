/**
 * What a place is: something that holds parts of a model and adds them up.
 * Every place runs the same loop, {@linkcode forward}, over its own parts.
 */
import type { Kernels } from "../../wasm/kernels.d.ts";
import type { Rates } from "../plan/machine.ts";
import type { Exchange, Side, Squares, Stage } from "../plan/schedule.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import type { Batch } from "./batch.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import type { LayerCounts } from "./stats.ts";
import type { Picked } from "./top_logits_row.ts";
import type { Activity, TraceEvent } from "./trace.ts";

/** Holds parts of a model and computes them. All matrices are row-major, one row a token. */
export interface Place {
  /** Bytes of weights that this place holds. */
  readonly weightBytes: number;
  /** What it has computed and read so far, by layer. */
  readonly counts: LayerCounts;
  /**
   * Makes KV pages until there are so many, as far as there is memory. Gives how
   * many there are.
   */
  reserve(pages: number): number;
  /**
   * Writes keys and values of a page to `rows`, as `kv_rows.ts` has them: of those
   * KV heads whose first query head is here.
   */
  readPage(layer: number, page: number, rows: Uint8Array): void | Promise<void>;
  /** Takes those of the KV heads that it holds. */
  writePage(layer: number, page: number, rows: Uint8Array): void;
  /** Gets ready for a step: copies the KV pages that part. */
  begin(batch: Batch): void;
  /** Begins the residual anew, with its rows of the embedding. */
  embed(batch: Batch): void;
  /** Computes queries, keys and values of its heads, if {@linkcode attention} does not. */
  project?(layer: number, batch: Batch): void;
  /** Computes attention of its heads: their share of the layer's output, if it has no {@linkcode attentionOutput}. */
  attention(layer: number, batch: Batch): void;
  /** Computes its share of the layer's output from what heads computed. */
  attentionOutput?(layer: number, batch: Batch): void;
  /** Chooses the experts of each token, by what its layer's router reads: the residual, or that normed for the FFN. */
  route(layer: number, batch: Batch): void;
  /** Computes the values h of its neurons; of experts, of those that were chosen. */
  ffnActivations(layer: number, batch: Batch): void;
  /** Sets every |h| of token t that is not above `thresholds[t]` to zero. */
  keepAbove(batch: Batch, thresholds: Float32Array): void;
  /** Computes its neurons' share of the FFN. */
  down(layer: number, batch: Batch): void;
  /** Computes its rows of the logits of the tokens that want them, and the states of those that want these. */
  head(batch: Batch): void;
}

/** A place on the CPU: what it computes are terms, which the places add to their residuals. */
export interface CpuSidePlace extends Place, Normed {
  /** Writes what its heads, or neurons, computed to its columns of `rows`, `[tokens, stride]`. */
  putInputs(stage: Stage, batch: Batch, rows: Float32Array): void;
  /** Takes what those of all places computed. */
  takeInputs(stage: Stage, batch: Batch, rows: Float32Array): void;
  /** Writes which experts tokens chose, `[tokens][used]`: each one's number, ascending, and the bits of what it counts. */
  putChoices(batch: Batch, choices: Uint32Array): void;
  /** What it computed last, `[tokens, stride]` each: one term, or several sums of groups (`plan/groups.ts`). */
  terms(batch: Batch): Float32Array[];
  /**
   * Adds the sum of terms to its residual: its only one, or copies of those of
   * all places. Behind each, as many pairs are added up as `merges` says.
   */
  accumulate(
    terms: readonly Float32Array[],
    merges: readonly number[],
    batch: Batch,
  ): void;
  /** Its residual, `[tokens, stride]`. */
  residual(batch: Batch): Float32Array;
  /** Takes another residual, `[tokens, stride]`, of any stride. */
  setResidual(residual: Float32Array, batch: Batch): void;
  /** The values h that `ffnActivations` computed, `[tokens][neurons]`, valid until `down`. */
  neurons(batch: Batch): Float32Array[];
  /** Its columns of the logits, a row for each token that wants them. */
  logits(batch: Batch): Float32Array[];
  /** The states behind the output norm, `[hiddenSize]` for each token that wants them. */
  states(batch: Batch): Float32Array[];
  /**
   * Of each row as many of its largest logits as `batch.pickedOfRows` says, with
   * ids that count from its first; before {@linkcode reach}, any of its logits, as
   * large ones as it knows.
   * Where it is left out, they are picked from `logits`.
   */
  pick?(batch: Batch): Picked[];
  /** Computes what is missing of the logits that may be as large as `least` of each row. */
  reach?(batch: Batch, least: readonly number[]): void;
  /** Closes its files, where it has some. */
  [Symbol.dispose]?(): void;
  /** How fast it reads its rows, where it has measured that. */
  readonly rates?: Rates;
  /** How fast it reads its rows now, where it can measure that. */
  measureRates?(): Rates;
  /** Calls its kernels by way of what `watch` makes of them; without it, directly again. */
  watchKernels?(watch?: (kernels: Kernels) => Kernels): void;
}

/** Has heads, or neurons, that are normed as one with those of other places. */
export interface Normed {
  /** Writes the squares of its heads, or neurons, to their columns of `rows`, `[tokens, stride]`: a sum for each head (queries, then keys), or each neuron's. */
  putSquares(
    of: Squares,
    layer: number,
    batch: Batch,
    rows: Float32Array,
  ): void;
  /** Norms them, by the squares of all. */
  takeSquares(
    of: Squares,
    layer: number,
    batch: Batch,
    rows: Float32Array,
  ): void;
}

/**
 * A place on the GPU: adds what it computes to a residual of its own. Methods
 * line up work for the device; what they give is there at once where the
 * device can be waited for, and otherwise later; it is valid until they are
 * called again. They throw a `GpuError` where the device has failed.
 */
export interface GpuSidePlace extends Place, Normed, AsyncDisposable {
  putSquares(...args: Parameters<Normed["putSquares"]>): void | Promise<void>;
  /** How the device is used. */
  readonly stats: MeasuredGpu;
  /** Starts what is lined up, so that it runs while the CPU places compute. */
  submit(): void;
  /** Its residual, `[tokens, stride]`. */
  residual(batch: Batch): Float32Array | Promise<Float32Array>;
  /** Takes another residual, `[tokens, stride]`. */
  setResidual(residual: Float32Array, batch: Batch): void;
  /** Takes which experts of a layer tokens chose, as CPU places put them. */
  takeChoices(layer: number, batch: Batch, choices: Uint32Array): void;
  /** Adds what the CPU places computed, `[tokens, stride]`, to its residual. */
  addToResidual(sum: Float32Array, batch: Batch): void;
  /** The values h that `ffnActivations` computed, `[tokens][neurons]`. */
  neurons(batch: Batch): Float32Array[] | Promise<Float32Array[]>;
  /** Begins to record what the device does in a step. */
  startTrace(): void;
  /** Says, in a step that is traced, what it computes from here on. */
  mark(activity: Activity, layer?: number): void;
  /** What the device did since `startTrace`; undefined where it does not report that. */
  endTrace(): Promise<TraceEvent[] | undefined>;
  /** Its columns of the logits, a row for each token that wants them; or what it picked of them (`top_logits_row.ts`). */
  logits(batch: Batch): Float32Array[] | Promise<Float32Array[]>;
}

/** Goes on with a value, at once where it is there. */
export function after<T, R>(
  value: T | Promise<T>,
  next: (value: T) => R | Promise<R>,
): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Where a pass waits for an exchange: which one, and the stage before or after which. */
export interface ExchangePoint {
  readonly exchange: Exchange;
  readonly stage: Stage;
}

/**
 * The forward pass of one place of a side; it stops at every exchange.
 * The same for one token, a prompt, or several sequences' tokens together.
 */
export function* forward(
  schedule: readonly Stage[],
  side: Side,
  place: Place,
  batch: Batch,
  sparsity: Sparsity,
): Generator<ExchangePoint, void, void> {
  place.begin(batch);
  for (const stage of schedule) {
    const { kind, layer, before, choices, squares, between, after } = stage;
    if (before) yield { exchange: before, stage };
    if (stage.router === side) place.route(layer, batch);
    if (choices) yield { exchange: choices, stage };
    const isOurs = stage.sides.includes(side);
    if (kind === "ffn") {
      if (isOurs) place.ffnActivations(layer, batch);
      if (sparsity.mode === "top-k") yield { exchange: "top-k", stage };
      if (squares.includes("neuron-squares")) {
        yield { exchange: "neuron-squares", stage };
      }
      if (between) yield { exchange: between, stage };
      if (isOurs) place.down(layer, batch);
    } else if (kind === "attention") {
      if (isOurs) place.project?.(layer, batch);
      if (squares.includes("qk-squares")) {
        yield { exchange: "qk-squares", stage };
      }
      if (isOurs) place.attention(layer, batch);
      if (squares.includes("head-squares")) {
        yield { exchange: "head-squares", stage };
      }
      if (between) yield { exchange: between, stage };
      if (isOurs) place.attentionOutput?.(layer, batch);
    } else {
      if (kind === "head" && batch.hasMasks) yield { exchange: "masks", stage };
      if (isOurs) place[kind](batch);
    }
    if (kind === "head" && batch.pickedOfRows.some((k) => k > 0)) {
      yield { exchange: "candidates", stage };
    }
    if (after) yield { exchange: after, stage };
  }
  yield { exchange: "logits", stage: schedule[schedule.length - 1] };
}
