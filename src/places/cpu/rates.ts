/**
 * How fast this place reads its own rows, in sequence and picked at random,
 * with the kernels that will read them.
 *
 * @module
 */
import type { Rates } from "../../plan/border.ts";
import type { Activations, F32Rows, PackedMatrix } from "./matrix.ts";
import type { WasmMemory } from "./memory.ts";

/** The kernels' first calls run in the engine's baseline code; ms until they do not. */
const warmUp = 12;
/** ms that measuring may take. */
const budget = 24;
/** Share of rows that is picked: about what fires in the models at hand. */
const pickedShare = 0.15;
/** Rows read in one go, so that the measure has several. */
const rowsPerRun = 1024;

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
  const stream = { bytes: 0, ms: 0 }, pick = { bytes: 0, ms: 0 };
  const start = performance.now();
  let warm = false;
  for (let turn = 0; performance.now() - start < warmUp + budget; turn++) {
    const matrix = matrices[turn % matrices.length];
    const count = Math.min(rowsPerRun, matrix.rows);
    const runs = Math.max(1, Math.floor(matrix.rows / count));
    const first = (Math.floor(turn / matrices.length) % runs) * count;
    const half = Math.floor(count / 2);
    const picked = writeRandomIds(memory, ids, half);
    const isWarm = performance.now() - start > warmUp;
    if (isWarm !== warm) {
      warm = true;
      stream.bytes =
        stream.ms =
        pick.bytes =
        pick.ms =
          0;
    }
    time(stream, () => matrix.multiplyRange(x, 1, first, half, out));
    time(
      pick,
      () => matrix.multiplyRows(x, first + half, ids, picked, out.pointer),
    );
  }
  return {
    stream: stream.bytes / stream.ms,
    pick: pick.bytes / pick.ms,
    scatter: measureScatter(matrices[0], x, out, Math.min(tokens, 8)),
  };
}

/** Time of some rows times some tokens in tiles, over the same computed one by one. */
function measureScatter(
  matrix: PackedMatrix,
  x: Activations,
  out: F32Rows,
  tokens: number,
): number {
  const count = Math.min(matrix.rows, 64);
  const rows = { ...out, stride: count };
  const tiles = { bytes: 0, ms: 0 }, single = { bytes: 0, ms: 0 };
  const all = -Infinity; // every result is asked for, whatever stands there
  const start = performance.now();
  let warm = false;
  while (performance.now() - start < warmUp) {
    const isWarm = performance.now() - start > warmUp / 2;
    if (isWarm !== warm) {
      warm = true;
      tiles.ms = single.ms = 0;
    }
    time(tiles, () => matrix.multiplyRange(x, tokens, 0, count, rows));
    time(
      single,
      () => matrix.multiplyWhere(x, tokens, rows, all, rows, count),
    );
  }
  return tiles.ms / single.ms;
}

function time(total: { bytes: number; ms: number }, run: () => number): void {
  const start = performance.now();
  total.bytes += run();
  total.ms += performance.now() - start;
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
