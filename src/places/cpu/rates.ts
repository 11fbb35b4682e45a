/**
 * Which kernels this place uses, and how fast they read its rows: measured on
 * rows read as a step reads them, all of them once and in the order of a step.
 * Rows that are read again and again come from a cache, and say nothing about
 * a model that is larger than one.
 */
import type { Rates } from "../../plan/machine.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";
import { joined } from "../../kernels/joined.ts";
import { liesSideBySide } from "./interleaved_rows.ts";
import type { LayerWeights } from "./weights.ts";

/** ms that a measure of reading may take, and one of a prompt's products. */
const readingMs = 24, productsMs = 8;
/** The share of the time whose measures do not count: caches and clocks settle. */
const warmShare = 0.25;
/** Layers that each kernel reads afterwards, at least. */
const leastSeen = 2;
/** Share of rows that is picked: about what fires in the models at hand. */
const pickedShare = 0.15;
/** Rows of up are picked in one layer of so many, and streamed in the others. */
const pickedLayers = 3;
/** Neurons that the kernel picks at once. */
const dozen = 12;
/** Tokens of a measured product, and multiply-adds: as many as have the better stack frame tried (`stack_frames.ts`). */
const productTokens = 16, productWork = 1 << 22;
/** Products that are measured, at least. */
const leastProducts = 8;
/** Rows that kernels are warmed up on, at most. */
const warmRows = 24;
/** Rows that are computed one by one. */
const singleRows = 32;
/** A kernel has to be this much faster than the usual one to be chosen: less is noise. */
const margin = 1.03;

/** Kernels that give the same results, as `choose` knows them. */
export const variant = { wide: 1, rowsI32: 2, tilesI32: 4 };

/** Of those, what reads rows for one token. */
type RowKernel = Pick<Rates, "rowsAtOnce" | "rowSums">;
type KernelChoice = RowKernel & Pick<Rates, "tileSums">;

const rowKernels: readonly RowKernel[] = ([4, 12] as const).flatMap((
  rowsAtOnce,
) => (["i16", "i32"] as const).map((rowSums) => ({ rowsAtOnce, rowSums })));

/** What is measured: the rows that a place reads in a step. */
export interface RateSubject {
  readonly memory: WasmMemory;
  /** Those with neurons */
  readonly layers: readonly LayerWeights[];
  /** The output head, where the place has rows of it */
  readonly output?: PackedMatrix;
  /** Most tokens of a step */
  readonly tokens: number;
  /** Whether gate and up are read as one */
  readonly isDense: boolean;
}

/** Rates of a place that has no rows to measure. */
const noRates: Rates = {
  stream: 1,
  pick: 1,
  tiles: 1,
  scatter: 1,
  rowsAtOnce: 4,
  rowSums: "i16",
  tileSums: "i16",
};

/** What is assumed of a small model in the caller's thread, where measuring takes longer than its first tokens. */
export const assumedRates: Rates = { ...noRates, pick: 0.35 };

/**
 * Calls the kernels that are measured later many times on few rows, whatever
 * these hold: the engine then compiles them anew, better, while weights load.
 */
export function warmUp(subject: RateSubject): void {
  const { memory, layers } = subject;
  if (layers.length === 0) return;
  const ofEachKind = new Map(
    readsOf(subject).flatMap(({ streamed }) => streamed)
      .map((matrix) => [matrix.kind, matrix]),
  );
  withScratch(subject, ({ x, out, ids, tokens }) => {
    for (const matrix of ofEachKind.values()) {
      const count = Math.min(matrix.rows, warmRows);
      const rows = { ...out, stride: count };
      memory.u32(ids, count).set(Array.from({ length: count }, (_, i) => i));
      for (let i = 0; i < 400; i++) {
        memory.kernels.choose(i % 4 + (i % 2) * variant.tilesI32);
        matrix.multiplyRange(x, 1, 0, count, rows);
        matrix.multiplyRows(x, 0, ids, count, rows.pointer);
        if (i % 16 >= 4) continue;
        matrix.multiplyRange(x, tokens, 0, count, rows);
        matrix.multiplyWhere(x, tokens, rows, -Infinity, rows, count);
      }
    }
  });
  memory.kernels.choose(0);
}

/**
 * Chooses the place's kernels, which run from now on, and measures how fast they
 * read. Reading comes first, so that all places read at the same time, as they do
 * in a step.
 */
export function chooseKernels(
  subject: RateSubject,
  kernels: readonly RowKernel[] = rowKernels,
  chosenSums?: KernelChoice["tileSums"],
): Rates {
  if (subject.layers.length === 0) return noRates;
  return withScratch(subject, (scratch) => {
    const { streams, pick } = measureReading(subject, scratch, kernels);
    const { tiles, picked } = measureProducts(subject, scratch);
    const isBetter = tiles.i32 > margin * tiles.i16;
    const tileSums = chosenSums ?? (isBetter ? "i32" : "i16");
    const fastest = streams.indexOf(Math.max(...streams));
    // Where memory is what rows wait for, what computes with less is as good.
    const usual = kernels.findIndex(({ rowsAtOnce, rowSums }) =>
      rowsAtOnce === 4 && rowSums === tileSums
    );
    const isBest = usual < 0 || streams[fastest] > margin * streams[usual];
    const best = isBest ? fastest : usual;
    const choice: KernelChoice = { ...kernels[best], tileSums };
    useKernels(subject.memory, choice);
    return {
      stream: streams[best],
      pick,
      tiles: tiles[tileSums],
      scatter: picked[choice.rowSums] / tiles[tileSums],
      ...choice,
    };
  });
}

/** Runs the kernels from now on that were chosen in another memory of the place. */
export function useKernels({ kernels }: WasmMemory, choice: KernelChoice) {
  kernels.choose(bitsOf(choice));
}

function bitsOf({ rowsAtOnce, rowSums, tileSums }: KernelChoice): number {
  return (rowsAtOnce === 12 ? variant.wide : 0) +
    (rowSums === "i32" ? variant.rowsI32 : 0) +
    (tileSums === "i32" ? variant.tilesI32 : 0);
}

/** Measures the kernels that were chosen. */
export function measureRates(
  subject: RateSubject,
  { rowsAtOnce, rowSums, tileSums }: KernelChoice,
): Rates {
  return chooseKernels(subject, [{ rowsAtOnce, rowSums }], tileSums);
}

/** Scratch to multiply with. */
interface Scratch {
  readonly x: Activations;
  /** Tokens that `x` has room for */
  readonly tokens: number;
  /** Room for a result of every row of a matrix, and for those of a product */
  readonly out: F32Rows;
  /** Room for an id of every row of a matrix */
  readonly ids: number;
}

/** Lends scratch that is given back afterwards. */
function withScratch<Result>(
  subject: RateSubject,
  use: (scratch: Scratch) => Result,
): Result {
  const { memory } = subject;
  const matrices = readsOf(subject).flatMap(({ streamed, picked }) => [
    ...streamed,
    ...picked,
  ]);
  const most = (of: (matrix: PackedMatrix) => number) =>
    matrices.reduce((max, matrix) => Math.max(max, of(matrix)), 0);
  const rows = most((matrix) => matrix.rows);
  const tokens = Math.min(subject.tokens, productTokens);
  const { top } = memory;
  const result = use({
    x: new Activations(memory, tokens, most(({ columns }) => columns)),
    tokens,
    out: allocateRows(
      memory,
      1,
      Math.max(
        rows,
        tokens * Math.max(productRows(subject), Math.min(rows, warmRows)),
      ),
    ),
    ids: memory.allocate(4 * rows),
  });
  memory.rewind(top);
  return result;
}

/** Rows of a measured product. */
function productRows({ layers, tokens }: RateSubject): number {
  const [layer] = layers;
  if (!layer) return 0;
  const { rows, columns } = layer.ffn_up;
  const work = columns * Math.min(tokens, productTokens);
  return Math.min(rows, Math.max(singleRows, Math.ceil(productWork / work)));
}

/** What a token reads of a layer, or of the head. */
interface Reads {
  /** Matrices that are read as a whole */
  readonly streamed: readonly PackedMatrix[];
  /** Matrices of which some rows may be read instead, the same of each */
  readonly picked: readonly PackedMatrix[];
  /** What is read as a whole beside rows that are picked */
  readonly beside: readonly PackedMatrix[];
}

/** What a token reads, in its order; where a neuron's rows lie side by side, they are picked alone. */
function readsOf({ layers, output, isDense }: RateSubject): Reads[] {
  const present = (matrices: readonly (PackedMatrix | undefined)[]) =>
    matrices.filter((matrix) => matrix !== undefined && matrix.rows > 1)
      .map((matrix) => matrix!);

  const reads = layers.map((layer): Reads => {
    const { attn_q, attn_k, attn_v, attn_output } = layer;
    const { ffn_gate, ffn_up, ffn_down, ffn_down_t, fc1, fc2 } = layer;
    const isPicked = ffn_down_t && liesSideBySide(layer);
    const heads = joined(present([attn_q, attn_k, attn_v]));
    const others = present([...heads, attn_output]);
    if (isPicked) {
      const streamed = [...others, ...present([fc1, fc2])];
      const picked = [ffn_gate!, ffn_up, ffn_down_t];
      return { streamed, picked, beside: streamed };
    }
    const gateAndUp = present([ffn_gate, ffn_up]);
    const down = present([ffn_down]);
    return {
      streamed: [
        ...others,
        ...isDense ? joined(gateAndUp) : gateAndUp,
        ...down,
      ],
      picked: [ffn_up],
      beside: [...others, ...present([ffn_gate]), ...down],
    };
  });
  const head = present([output]);
  return [...reads, { streamed: head, picked: [], beside: head }];
}

/** Bytes a ms that were seen, of layers and of the head. */
interface Seen {
  readonly layers: number[];
  readonly head: number[];
}

/**
 * Reads the rows as steps do, layer after layer: each with the next of the
 * `choices`, and in the next step with the one after it. Gives, for each choice,
 * the bytes a ms of rows that follow one another, and those of picked rows.
 */
function measureReading(
  subject: RateSubject,
  scratch: Scratch,
  choices: readonly RowKernel[],
): { streams: number[]; pick: number } {
  const reads = readsOf(subject);
  const seen = choices.map((): Seen => ({ layers: [], head: [] }));
  const picks: number[] = [];
  const isEnough = () =>
    picks.length > 0 && seen.every(({ layers }) => layers.length >= leastSeen);
  const start = performance.now();
  for (let turn = 0, isWarm = false;; turn++) {
    const ms = performance.now() - start;
    if (ms > readingMs && isWarm && isEnough()) break;
    if (ms > warmShare * readingMs && !isWarm) {
      isWarm = true;
      for (const { layers, head } of seen) layers.length = head.length = 0;
      picks.length = 0;
    }
    const layer = turn % reads.length;
    const order = layer + Math.floor(turn / reads.length);
    const choice = order % choices.length;
    useKernels(subject.memory, { ...choices[choice], tileSums: "i16" });
    const { streamed, picked, beside } = reads[layer];
    const isPicked = order % pickedLayers === 0 || beside === streamed;
    const whole = isPicked ? beside : streamed;
    if (whole.length > 0) {
      const { layers, head } = seen[choice];
      const rates = layer < reads.length - 1 ? layers : head;
      rates.push(perMs(() => streamAll(whole, scratch)));
    }
    if (isPicked && picked.length > 0) {
      picks.push(pickRate(subject, scratch, picked));
    }
  }
  const bytes = reads.map(({ streamed }) => bytesOf(streamed));
  const headBytes = seen.every(({ head }) => head.length > 0)
    ? bytes[bytes.length - 1]
    : 0;
  const layerBytes = bytes.slice(0, -1).reduce((a, b) => a + b);
  return {
    streams: seen.map(({ layers, head }) =>
      (layerBytes + headBytes) /
      (layerBytes / typical(layers) +
        (headBytes > 0 ? headBytes / typical(head) : 0))
    ),
    pick: typical(picks),
  };
}

function bytesOf(matrices: readonly PackedMatrix[]): number {
  return matrices.reduce((sum, { rows, rowBytes }) => sum + rows * rowBytes, 0);
}

function streamAll(
  matrices: readonly PackedMatrix[],
  { x, out }: Scratch,
): number {
  for (const matrix of matrices) {
    x.changed();
    matrix.multiply(x, 1, out);
  }
  return bytesOf(matrices);
}

/** Rows picked of matrices that have as many: some of each in turn. */
function pickRate(
  { memory }: RateSubject,
  { x, ids, out }: Scratch,
  matrices: readonly PackedMatrix[],
): number {
  const picked = writeRandomIds(memory, ids, matrices[0].rows);
  const step = matrices.length > 1 ? dozen : picked;
  return perMs(() => {
    let bytes = 0;
    for (let i = 0; i < picked; i += step) {
      const n = Math.min(step, picked - i);
      for (const matrix of matrices) {
        bytes += matrix.multiplyRows(x, 0, ids + 4 * i, n, out.pointer);
      }
    }
    return bytes;
  });
}

/**
 * Products of some rows and tokens, in tiles and one by one where they are
 * needed, with the sums of either kind: row bytes times tokens, by time. A
 * prompt's rows come from a second cache but for the first tokens, and so do
 * these.
 */
function measureProducts(
  subject: RateSubject,
  { x, out, tokens }: Scratch,
): Record<"tiles" | "picked", Record<KernelChoice["rowSums"], number>> {
  const { memory, layers: [{ ffn_up }] } = subject;
  const count = productRows(subject), few = Math.min(ffn_up.rows, singleRows);
  const rows = { ...out, stride: count };
  const all = -Infinity; // every result is wanted, whatever stands there
  const tiles = () =>
    perMs(() => tokens * ffn_up.multiplyRange(x, tokens, 0, count, rows));
  const picked = () =>
    perMs(() =>
      ffn_up.rowBytes * ffn_up.multiplyWhere(x, tokens, rows, all, rows, few)
    );
  const measured = (bits: number, measure: () => number) => {
    memory.kernels.choose(bits);
    return measure();
  };
  const rates = repeated(() => ({
    tiles: measured(0, tiles),
    tilesI32: measured(variant.tilesI32, tiles),
    picked: measured(0, picked),
    pickedI32: measured(variant.rowsI32, picked),
  }), productsMs);
  return {
    tiles: { i16: rates.tiles, i32: rates.tilesI32 },
    picked: { i16: rates.picked, i32: rates.pickedI32 },
  };
}

/** What is typical of each rate that `measure` gives, again and again for `ms`. */
function repeated<Name extends string>(
  measure: () => Record<Name, number>,
  ms: number,
): Record<Name, number> {
  const start = performance.now();
  let seen: Record<Name, number>[] = [];
  let isWarm = false;
  // So often at least: a thread may lose its core for all of the time.
  do {
    seen.push(measure());
    if (!isWarm && performance.now() - start > warmShare * ms) {
      isWarm = true;
      seen = seen.slice(-1);
    }
  } while (performance.now() - start < ms || seen.length < leastProducts);
  return Object.fromEntries(
    Object.keys(seen[0]).map((name) => [
      name,
      typical(seen.map((numbers) => numbers[name as Name])),
    ]),
  ) as Record<Name, number>;
}

/** The upper quartile: whatever disturbs a measure makes it slower. */
function typical(rates: readonly number[]): number {
  return rates.toSorted((a, b) => a - b)[Math.floor(0.75 * rates.length)];
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
