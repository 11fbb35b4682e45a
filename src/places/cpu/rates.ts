/**
 * How fast this place reads its own rows, in sequence and picked at random,
 * with the kernels that will read them.
 *
 * @module
 */
import type { Rates } from "../../plan/rates.ts";
import type {
  Activations,
  F32Rows,
  PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { liesSideBySide } from "./interleaved_rows.ts";
import type { LayerWeights } from "./weights.ts";

/** ms that a measure of reading may take, and one of a prompt's products. */
const readingMs = 16, productsMs = 8;
/** The share of the time whose measures do not count: caches and clocks settle. */
const warmShare = 0.25;
/** Share of rows that is picked: about what fires in the models at hand. */
const pickedShare = 0.15;
/** Rows read in one go, so that the measure has several. */
const rowsPerRun = 1024;
/** Neurons that the kernel picks at once. */
const dozen = 12;
/** A kernel has to be this much faster than the default to be chosen: less is noise. */
const margin = 1.03;

/** Kernels that give the same results, as `choose` knows them. */
const variant = { wide: 1, sumI32: 2 };

type KernelChoice = Pick<Rates, "rowsAtOnce" | "nibbleSums">;

/** What is measured: a place's rows, with scratch to multiply them. */
export interface RateSubject {
  readonly memory: WasmMemory;
  readonly layers: readonly LayerWeights[];
  readonly x: Activations;
  /** Room for 1024 results, and for 8 tokens of 64 */
  readonly out: F32Rows;
  /** Room for 1024 ids */
  readonly ids: number;
  /** Tokens that `x` has room for */
  readonly tokens: number;
}

/** Rates of a place that has no rows to measure. */
const noRates: Rates = {
  stream: 1,
  pick: 1,
  scatter: 1,
  rowsAtOnce: 3,
  nibbleSums: "i16",
};

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
  for (let i = 0; i < 400; i++) {
    memory.kernels.choose(i % 4);
    matrix.multiplyRange(x, 1, 0, count, out);
    matrix.multiplyRows(x, 0, ids, count, out.pointer);
    if (i % 16 >= 4) continue;
    matrix.multiplyRange(x, n, 0, count, out);
    matrix.multiplyWhere(x, n, out, -Infinity, out, count);
  }
  memory.kernels.choose(0);
  x.changed();
}

/** Chooses the place's kernels, which run from now on, and measures how fast they read. */
export function chooseKernels(subject: RateSubject): Rates {
  if (subject.layers.length === 0) return noRates;
  const { kernels } = subject.memory;
  const stream = (rows: RowRange, bits: number) => {
    kernels.choose(bits);
    return streamRate(subject, rows);
  };
  const tiles = (bits: number) => {
    kernels.choose(bits);
    return tileRate(subject);
  };
  const streams = medians((turn) => {
    // Never the same rows twice, for they would come from a cache.
    const [a, b] = streamedRows(subject, turn);
    return { narrow: stream(a, 0), wide: stream(b, variant.wide) };
  }, readingMs);
  const products = medians(() => ({
    i16: tiles(0),
    i32: tiles(variant.sumI32),
  }), productsMs);
  const choice: KernelChoice = {
    rowsAtOnce: streams.wide > margin * streams.narrow ? 12 : 3,
    nibbleSums: products.i32 > margin * products.i16 ? "i32" : "i16",
  };
  useKernels(subject.memory, choice);
  return measureRates(subject, choice);
}

/** Runs the kernels from now on that were chosen in another memory of the place. */
export function useKernels(
  { kernels }: WasmMemory,
  { rowsAtOnce, nibbleSums }: KernelChoice,
): void {
  const wide = rowsAtOnce === 12 ? variant.wide : 0;
  kernels.choose(wide + (nibbleSums === "i32" ? variant.sumI32 : 0));
}

/**
 * Measures the kernels that were chosen. Reading comes first and by itself, so
 * that all places read at the same time, as they do in a step.
 */
export function measureRates(
  subject: RateSubject,
  { rowsAtOnce, nibbleSums }: KernelChoice,
): Rates {
  if (subject.layers.length === 0) return noRates;
  const { stream, pick } = medians((turn) => ({
    stream: streamRate(subject, streamedRows(subject, turn)[0]),
    pick: pickRate(subject, turn),
  }), readingMs);
  const { tiles, single } = medians(() => ({
    tiles: tileRate(subject),
    single: singleRate(subject),
  }), productsMs);
  return { stream, pick, scatter: single / tiles, rowsAtOnce, nibbleSums };
}

/** Some rows of a matrix. */
interface RowRange {
  readonly matrix: PackedMatrix;
  readonly first: number;
  readonly count: number;
}

/** The next rows, from memory and not from a cache: two parts of what follows. */
function nextRows(
  { layers }: RateSubject,
  turn: number,
  matrixOf: (layer: LayerWeights) => PackedMatrix,
): [RowRange, RowRange] {
  const matrix = matrixOf(layers[turn % layers.length]);
  const both = Math.min(rowsPerRun, matrix.rows);
  const runs = Math.max(1, Math.floor(matrix.rows / both));
  const first = (Math.floor(turn / layers.length) % runs) * both;
  const count = Math.floor(both / 2);
  return [{ matrix, first, count }, { matrix, first: first + count, count }];
}

/** Rows that follow one another: of up, but of the queries, if there are any, where a neuron's rows lie side by side. */
function streamedRows(subject: RateSubject, turn: number) {
  return nextRows(subject, turn, (layer) => {
    const { attn_q, ffn_up } = layer;
    return liesSideBySide(layer) && attn_q.rows > 1 ? attn_q : ffn_up;
  });
}

function streamRate(
  { x, out }: RateSubject,
  { matrix, first, count }: RowRange,
): number {
  return perMs(() => matrix.multiplyRange(x, 1, first, count, out));
}

/** Rows picked of one matrix, or of all three where they lie side by side. */
function pickRate(subject: RateSubject, turn: number): number {
  const { memory, layers, ids, x, out } = subject;
  const [, { first, count }] = nextRows(subject, turn, (l) => l.ffn_up);
  const picked = writeRandomIds(memory, ids, count);
  const layer = layers[turn % layers.length];
  const { ffn_gate, ffn_up, ffn_down_t } = layer;
  const isTriple = ffn_down_t && liesSideBySide(layer);
  const matrices = isTriple ? [ffn_gate, ffn_up, ffn_down_t] : [ffn_up];
  const step = isTriple ? dozen : picked;
  return perMs(() => {
    let bytes = 0;
    for (let i = 0; i < picked; i += step) {
      const n = Math.min(step, picked - i);
      for (const matrix of matrices) {
        const at = ids + 4 * i;
        bytes += matrix.multiplyRows(x, first, at, n, out.pointer);
      }
    }
    return bytes;
  });
}

/** Some rows times some tokens in tiles: row bytes times tokens, by time. */
function tileRate(subject: RateSubject): number {
  const { up, n, count, rows } = tileOf(subject);
  return perMs(() => n * up.multiplyRange(subject.x, n, 0, count, rows));
}

/** The same, computed one by one. */
function singleRate(subject: RateSubject): number {
  const { up, n, count, rows } = tileOf(subject);
  const all = -Infinity; // every result is asked for, whatever stands there
  return perMs(() =>
    up.rowBytes * up.multiplyWhere(subject.x, n, rows, all, rows, count)
  );
}

function tileOf({ layers, tokens, out }: RateSubject) {
  const up = layers[0].ffn_up;
  const count = Math.min(up.rows, 64);
  return {
    up,
    n: Math.min(tokens, 8),
    count,
    rows: { ...out, stride: count },
  };
}

/** The median of each number that `measure` gives, again and again for `ms`: a thread that loses its core for a while spoils only few. */
function medians<Name extends string>(
  measure: (turn: number) => Record<Name, number>,
  ms: number,
): Record<Name, number> {
  const start = performance.now();
  let seen: Record<Name, number>[] = [];
  const goesOn = () => performance.now() - start < ms;
  // Once at least: a thread may lose its core before it begins.
  for (let turn = 0, warm = false; turn === 0 || goesOn(); turn++) {
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
