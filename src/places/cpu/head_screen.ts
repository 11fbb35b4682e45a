/**
 * A first look at the rows of the output head that leaves most of them out: those
 * whose logits cannot be among the largest. A copy of each row in nibbles gives
 * its logit to within a bound (`wasm/src/screen.rs`), so that the others, whose
 * exact rows are read then, have all that is looked for, bit by bit.
 *
 * What states of the text are like decides how tight the bound is: a few columns
 * of them are many times as large as the others. So the copy is made when some
 * have been seen, a part at a step, and those columns are in it twice.
 */
import { LimitError } from "../../errors.ts";
import {
  Activations,
  type F32Rows,
  PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { kindOf, packedKind, packedRowBytes } from "../../kernels/packing.ts";
import { lengthOf } from "../../model/index_set.ts";
import type { Model } from "../../model/model.ts";
import type { Shard } from "../../model/shard.ts";
import { KernelTrial } from "./kernel_trial.ts";
import { variant } from "./rates.ts";
import type { ScreenMode } from "./screen_choice.ts";

/** Weights of a block, whose activations are quantised together, and of a group of four. */
const block = 32, group = 128;
/** The largest of the squares that weigh what is left of columns: they are of 16 bits. */
const mostSquare = 32000;
/** The share of columns that a copy has twice. */
const extraShare = 0.2;
/** How much better these are known then: the nibbles' integers have 16 values. */
const gain = 16;
/** A column counts as at least this share of what columns are in the mean. */
const leastShare = 0.1;
/** Rows that are copied in one step, at least, and in how many steps all are at most. */
const rowsAtOnce = 1024, mostSteps = 16;
/** The most states that are screened at once: more are a prompt's, whose products take longer than reading. */
export const mostScreened = 8;
/** Rows of fewer bytes stay in a cache, and are not screened by themselves. */
const leastScreened = 4 << 20;
/** Nor are those of which the copies have a larger share of the bytes: some exact rows are read beside them. */
const mostShare = 0.75;
/** Beyond such products the kernels' f32 could overflow on the way. */
const largestLogit = 1e6;
/** How far the scaled and cut logits of equal products may be apart, of the cap (`wasm/src/exp.rs`). */
const capError = 2e-6;
/** What kernels may lose where a scale is so small that it is subnormal. */
const lost = 1e-20;

/** Kernels for the copies and one state: CPUs differ in what is fastest for nibbles, and other rows may be of other kinds. */
const kernelsOfOne = [
  0,
  variant.rowsI32,
  variant.wide,
  variant.wide + variant.rowsI32,
];
/** And for several. */
const kernelsOfSeveral = [0, variant.tilesI32];

/** Copies of rows that are being made, or are there. */
interface Copies {
  readonly matrix: PackedMatrix;
  /** Their products with one state, and with several */
  readonly one: KernelTrial;
  readonly several: KernelTrial;
  /** Rows that are there */
  done: number;
  readonly norms: number;
  readonly columns: number;
  readonly factor: number;
  readonly inverse: number;
  /** Its squares as whole numbers, times `unit` */
  readonly squares: number;
  readonly unit: number;
  /** States, with the columns that stand twice */
  readonly x: Activations;
  readonly weights: number;
  /** Norms of three kinds: of all rows, and of a state */
  readonly most: number;
  readonly input: number;
}

/** What the products of a state are off at most: by row norm, and for all rows alike. */
interface Bound {
  readonly factor: number;
  readonly slack: number;
}

/** Rows whose weights are scales times integers. */
const screenedKinds: readonly number[] = [
  packedKind.i8,
  packedKind.i8Half,
  packedKind.k6,
  packedKind.i6,
];

/** What is to be screened. */
type Rows = Pick<PackedMatrix, "kind" | "rows" | "columns">;

/**
 * Whether rows are screened in a mode, where that is faster: they have to be of
 * integers without minimums, with logits that grow as products do, and by themselves
 * so many that no cache holds them.
 */
export function isScreened(
  { kind, rows, columns }: Rows,
  { logitScale }: Model,
  mode: ScreenMode,
): boolean {
  const rowBytes = packedRowBytes(kind, columns);
  const pays = rows * rowBytes >= leastScreened &&
    copyBytes(columns) <= mostShare * rowBytes;
  return mode !== "off" && (mode === "on" || pays) &&
    screenedKinds.includes(kind) && rows > 1 && columns % block === 0 &&
    logitScale > 0;
}

/** Columns that a copy has twice. */
function extraOf(columns: number): number {
  const unit = 2 * block;
  const extra = unit * Math.round(extraShare * columns / unit);
  return Math.min(columns, Math.max(block, extra));
}

/** Bytes of the copy of a row. */
function copyBytes(columns: number): number {
  return packedRowBytes(packedKind.q4, columns + extraOf(columns));
}

/** Bytes of the copies of a head's rows, and of what belongs to them; 0 where they are not screened. */
export function screenBytes(
  shard: Shard,
  model: Model,
  mode: ScreenMode,
): number {
  const head = {
    kind: kindOf(shard),
    rows: lengthOf(shard.rows),
    columns: lengthOf(shard.columns),
  };
  if (!isScreened(head, model, mode)) return 0;
  return head.rows * (4 + copyBytes(head.columns));
}

/** Screens the rows of one matrix. */
export class HeadScreen {
  readonly #extra: number;
  /** By column, of the states seen */
  readonly #squares: Float64Array;
  #copies?: Copies;
  /** Of the states that were screened last */
  #bounds: readonly Bound[] = [];
  /** States that have been seen. */
  seen = 0;
  /** Whether there is no way to make the copies, or to use them. */
  isLost = false;

  /** Screens `output` for up to `states` in `normed`. */
  constructor(
    readonly memory: WasmMemory,
    readonly model: Model,
    readonly output: PackedMatrix,
    readonly normed: Activations,
    readonly states: number,
  ) {
    this.#extra = extraOf(output.columns);
    this.#squares = new Float64Array(output.columns);
  }

  /** Whether rows can be screened by now. */
  get isReady(): boolean {
    return this.#copies?.done === this.output.rows && !this.isLost;
  }

  /** Whether kernels are still being chosen for so many states: what screening takes is not known then. */
  isTrying(count: number): boolean {
    return !this.#kernels(count).isOver;
  }

  #kernels(count: number): KernelTrial {
    const { one, several } = this.#copies!;
    return count === 1 ? one : several;
  }

  /** Learns what states are like, from the first `count`. */
  see(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#state(i).forEach((x, i) => this.#squares[i] += x * x);
    }
    this.seen += count;
  }

  /** Copies some rows more. */
  copySome(): void {
    try {
      const copies = this.#copies ??= this.#makeRoom();
      const { output, memory } = this;
      const { matrix, done } = copies;
      const step = Math.max(rowsAtOnce, Math.ceil(output.rows / mostSteps));
      const count = Math.min(step, output.rows - done);
      memory.kernels.screen_rows(
        output.kind,
        output.row(done),
        output.stride,
        count,
        output.columns,
        copies.columns,
        this.#extra,
        copies.inverse,
        copies.squares,
        copies.unit,
        copies.weights,
        matrix.row(done),
        matrix.stride,
        copies.norms + 4 * done,
        copies.most,
      );
      copies.done += count;
      this.isLost = !memory.f32(copies.most, 3).every(Number.isFinite);
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      this.isLost = true;
    }
  }

  /**
   * Writes about what products of the first `count` states are to `out`, and gives
   * the bytes read; undefined where a state's numbers are too large.
   */
  approximate(out: F32Rows, count: number): number | undefined {
    const { x } = this.#copies!;
    const bounds: Bound[] = [];
    for (let i = 0; i < count; i++) {
      const bound = this.#boundOf(i);
      if (!bound) return undefined;
      bounds.push(bound);
    }
    this.#bounds = bounds;
    x.changed();
    return this.#kernels(count).multiply(x, count, out);
  }

  /** Puts a state among those that the copies are multiplied with; undefined where its numbers are too large. */
  #boundOf(index: number): Bound | undefined {
    const { memory, output: { columns } } = this;
    const { matrix, x, weights, most, input, ...copies } = this.#copies!;
    const row = x.pointer + 4 * index * x.stride;
    memory.f32(row, columns).set(this.#state(index));
    memory.kernels.screen_input(
      row,
      columns,
      copies.columns,
      this.#extra,
      copies.factor,
      weights,
      input,
    );
    const [scaled, moved, norm] = memory.f32(input, 3);
    const [rowNorm, copyNorm, extraNorm] = memory.f32(most, 3);
    // Of sums of products in f32, of exact rows and of copies.
    const exact = rowNorm * norm, copied = copyNorm * (2 * norm + moved);
    if (!(exact + copied < largestLogit)) return undefined;
    const rounding = 2 ** -24 * (matrix.columns / 8 + 32);
    const slack = rounding * (exact + copied) + extraNorm * moved * 1.001 +
      lost;
    return { factor: scaled * (1 + 2 ** -20), slack };
  }

  /**
   * Writes the ids of the rows whose logits may be as large as `least`, for a
   * state, to `ids`, ascending, and gives their number. `values` are what
   * {@linkcode approximate} wrote for it, or exact products.
   */
  select(index: number, values: number, least: number, ids: number): number {
    const { factor, slack } = this.#bounds[index];
    const product = this.#productOf(least);
    const reached = product - slack - 2 ** -22 * (Math.abs(product) + slack);
    return this.memory.kernels.select_reaching(
      values,
      this.#copies!.norms,
      this.output.rows,
      factor,
      Math.fround(reached),
      ids,
    );
  }

  /** A product whose logit is `logit`, or a lower one. */
  #productOf(logit: number): number {
    const { logitScale, logitCap } = this.model;
    const share = logit / logitCap! - capError;
    const scaled = !logitCap
      ? logit
      : share <= -1
      ? -Infinity
      : logitCap * Math.atanh(share);
    return scaled / logitScale;
  }

  #state(index: number): Float32Array {
    const { pointer, stride } = this.normed;
    const row = pointer + 4 * index * stride;
    return this.memory.f32(row, this.output.columns);
  }

  /** Room for the copies; what the states seen say of columns. */
  #makeRoom(): Copies {
    const { memory, output } = this;
    const extra = this.#extra;
    const { rows, columns } = output;
    const all = columns + extra;
    const stride = copyBytes(columns);
    const pointer = memory.allocate(rows * stride);
    const shard = { ...output.shard, columns: { start: 0, end: all } };
    const room = { pointer, stride, kind: packedKind.q4 };
    const { factor, largest } = this.#columns();
    const inverse = factor.map((d) => 1 / d);
    const { unit, squares } = squaresOf(inverse, largest);
    const matrix = new PackedMatrix(memory, shard, undefined, room);
    const copies = {
      matrix,
      one: new KernelTrial(matrix, kernelsOfOne),
      several: new KernelTrial(matrix, kernelsOfSeveral),
      done: 0,
      norms: memory.allocate(4 * rows),
      columns: memory.allocate(4 * extra),
      factor: memory.allocate(4 * columns),
      inverse: memory.allocate(4 * columns),
      squares: memory.allocate(squares.byteLength),
      unit,
      x: new Activations(memory, this.states, all),
      weights: memory.allocate(4 * all),
      most: memory.allocate(4 * 3),
      input: memory.allocate(4 * 3),
    };
    memory.u32(copies.columns, extra).set(largest);
    memory.f32(copies.factor, columns).set(factor);
    memory.f32(copies.inverse, columns).set(inverse);
    memory.bytes.set(new Uint8Array(squares.buffer), copies.squares);
    return copies;
  }

  /** What the states seen say: the columns in which they are largest, and a factor for each. */
  #columns(): { largest: number[]; factor: Float32Array } {
    const squares = this.#squares, { columns } = this.output;
    const sum = squares.reduce((a, b) => a + b, 0);
    const least = leastShare * Math.sqrt(sum / columns) || 1;
    const sizes = Array.from(
      squares,
      (square) => Math.max(least, Math.sqrt(square)),
    );
    const largest = [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a])
      .slice(0, this.#extra);
    // By Cauchy and Schwarz: what rows leave, by column, over the states' size.
    const left = new Float64Array(columns).fill(1);
    for (const column of largest) left[column] = 1 / gain;
    const factor = Float32Array.from(
      sizes,
      (size, i) => Math.sqrt(left[i] * least / size),
    );
    return { largest, factor };
  }
}

/**
 * The squares of numbers as whole ones, rounded up, times a unit; 0 for the
 * columns `without`. Those of whole groups, in the order in which a packed row
 * has their bytes (`wasm/src/layout.rs`).
 */
function squaresOf(
  numbers: Float32Array,
  without: readonly number[],
): { unit: number; squares: Int16Array } {
  const all = Float64Array.from(numbers, (number) => number * number);
  for (const column of without) all[column] = 0;
  const unit = Math.max(...all) / mostSquare || 1;
  const length = Math.floor(all.length / group) * group;
  const squares = Int16Array.from({ length }, (_, at) => {
    const [lane, quad] = [at % 16 >> 2, at % group >> 4];
    const column = at - at % group + block * lane + 4 * quad + at % 4;
    return Math.ceil(all[column] / unit);
  });
  return { unit, squares };
}
