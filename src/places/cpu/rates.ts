/**
 * How fast this place reads its own rows, in sequence and picked at random,
 * with the kernels that will read them.
 *
 * @module
 */
import type { Rates } from "../../plan/border.ts";
import type { Activations, F32Rows, PackedMatrix } from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";

/** ms that measuring reads may take. */
const budget = 32;
/** The share of the time whose measures do not count: caches and clocks settle. */
const warmShare = 0.25;
/** Share of rows that is picked: about what fires in the models at hand. */
const pickedShare = 0.15;
/** Rows read in one go, so that the measure has several. */
const rowsPerRun = 1024;

/**
 * Calls the kernels that are measured later many times on few rows, whatever
 * these hold: the engine then compiles them anew, better, while weights load.
 */
export function warmUp(
  memory: WasmMemory,
  matrix: PackedMatrix,
  x: Activations,
  tokens: number,
): void {
  const count = Math.min(matrix.rows, 24);
  const n = Math.min(tokens, 8);
  const out = { pointer: memory.allocate(4 * n * count), stride: count };
  const ids = memory.allocate(4 * count);
  memory.u32(ids, count).set(Array.from({ length: count }, (_, i) => i));
  for (let i = 0; i < 200; i++) {
    matrix.multiplyRange(x, 1, 0, count, out);
    matrix.multiplyRows(x, 0, ids, count, out.pointer);
    if (i % 8 > 0) continue;
    matrix.multiplyRange(x, n, 0, count, out);
    matrix.multiplyWhere(x, n, out, -Infinity, out, count);
  }
  x.changed();
}

/**
 * Measures on `matrices`, one after another, so that rows come from memory and
 * not from a cache. `x` and `out` are scratch, `ids` room for 1024 of them.
 */
export function measureRates(
  memory: WasmMemory,
  matrices: readonly PackedMatrix[],
  x: Activations,
  out: F32Rows,
  ids: number,
  tokens: number,
): Rates {
  const { stream, pick } = medians((turn) => {
    const matrix = matrices[turn % matrices.length];
    const count = Math.min(rowsPerRun, matrix.rows);
    const runs = Math.max(1, Math.floor(matrix.rows / count));
    const first = (Math.floor(turn / matrices.length) % runs) * count;
    const half = Math.floor(count / 2);
    const picked = writeRandomIds(memory, ids, half);
    return {
      stream: perMs(() => matrix.multiplyRange(x, 1, first, half, out)),
      pick: perMs(() =>
        matrix.multiplyRows(x, first + half, ids, picked, out.pointer)
      ),
    };
  }, budget);
  return { stream, pick, scatter: measureScatter(matrices[0], x, out, tokens) };
}

/** Time of some rows times some tokens in tiles, over the same computed one by one. */
function measureScatter(
  matrix: PackedMatrix,
  x: Activations,
  out: F32Rows,
  tokens: number,
): number {
  const n = Math.min(tokens, 8);
  const count = Math.min(matrix.rows, 64);
  const rows = { ...out, stride: count };
  const all = -Infinity; // every result is asked for, whatever stands there
  const { tiles, single } = medians(() => ({
    tiles: perMs(() => n * matrix.multiplyRange(x, n, 0, count, rows)),
    single: perMs(() =>
      matrix.rowBytes * matrix.multiplyWhere(x, n, rows, all, rows, count)
    ),
  }), budget / 2);
  return single / tiles;
}

/** The median of each number that `measure` gives, again and again for `ms`: a thread that loses its core for a while spoils only few. */
function medians<Name extends string>(
  measure: (turn: number) => Record<Name, number>,
  ms: number,
): Record<Name, number> {
  const start = performance.now();
  let seen: Record<Name, number>[] = [];
  for (let turn = 0, warm = false; performance.now() - start < ms; turn++) {
    seen.push(measure(turn));
    if (!warm && performance.now() - start > warmShare * ms) {
      warm = true;
      seen = seen.slice(-1);
    }
  }
  const median = (name: Name) => {
    const values = seen.map((numbers) => numbers[name]).sort((a, b) => a - b);
    return values[values.length >> 1];
  };
  return Object.fromEntries(
    Object.keys(seen[0]).map((name) => [name, median(name as Name)]),
  ) as Record<Name, number>;
}

/** What `run` returns, by the milliseconds that it took. */
function perMs(run: () => number): number {
  const start = performance.now();
  const amount = run();
  return amount / Math.max(1e-3, performance.now() - start);
}

/** Ascending ids below `count`, each with the same chance; gives their number. */
function writeRandomIds(
  memory: WasmMemory,
  ids: number,
  count: number,
): number {
  const view = memory.u32(ids, count);
  let picked = 0;
  for (let id = 0; id < count; id++) {
    if (Math.random() < pickedShare) view[picked++] = id;
  }
  return picked;
}
