/**
 * What kernels take in a step that is traced: they are called by way of
 * functions that look at the clock. Behind the step, the same calls say what
 * they would have taken on rows that lie in a cache near the core, and how long
 * it takes to read the same bytes and do nothing with them.
 */
import type { Kernels } from "../../../wasm/kernels.d.ts";
import { packedRowBytes } from "../../kernels/packing.ts";
import { cacheTypes } from "../cache_type.ts";
import type { Recorder, WorkSum } from "../trace.ts";
import { cpuPositionBytes } from "./kv_cache.ts";

type Numbers = readonly number[];

/** A kernel that reads rows of the model. */
interface Reader {
  /** Which of its arguments says how many rows, or what stands for them */
  readonly count: number;
  /** Bytes that a call read */
  bytes(args: Numbers, result: number, kernels: Kernels): number;
  /** Which of its arguments points to the ids of rows, where one does */
  readonly ids?: number;
  /** Whether the rows follow one another from the second argument on */
  readonly inSequence?: true;
}

const matmul: Reader = {
  count: 3,
  bytes: ([kind, , , rows, k]) => rows * packedRowBytes(kind, k),
  inSequence: true,
};
const matvecRows: Reader = {
  count: 4,
  ids: 3,
  bytes: ([kind, , , , ids, k]) => ids * packedRowBytes(kind, k),
};
const readers: Readonly<Record<string, Reader>> = {
  matmul,
  matmul_shifted: matmul,
  matvec_rows: matvecRows,
  matvec_rows_shifted: matvecRows,
  axpy_groups: {
    count: 6,
    bytes: (args, rows) => rows * packedRowBytes(args[0], args[7]),
  },
  neurons: {
    count: 5,
    ids: 4,
    bytes(args, _, { memory }) {
      const [ups, downs] = new Uint32Array(memory.buffer, args[14], 2);
      return (args[5] + ups + downs) * packedRowBytes(args[0], args[6]);
    },
  },
  attention: {
    count: 3,
    bytes: (args, positions) =>
      positions * cpuPositionBytes(cacheTypes[args[0]], args[5]),
  },
};

/** Bytes of rows that stay in a core's own caches. */
const cachedBytes = 128 << 10;
/** ms for which a call is repeated on them, and the least number of times. */
const repeatMs = 0.05, leastRepeats = 3;
/** Calls by which the cost of watching is measured. */
const emptyCalls = 500;

/** A call as it was the first time in the step: its rows are the longest out of the caches. */
interface Sample {
  /** Those of the memory in which the rows are */
  readonly kernels: Kernels;
  readonly kernel: (...args: Numbers) => number;
  readonly args: Numbers;
  /** A copy: other layers' ids come to the same place */
  readonly ids?: Uint32Array;
  readonly bytes: number;
  readonly reader: Reader;
}

export class KernelWatch {
  readonly #samples = new Map<WorkSum, Sample>();
  /** Those of one of the memories */
  #kernels!: Kernels;
  #calls = 0;

  constructor(readonly recorder: Recorder) {}

  /** The kernels of a memory, timed. */
  of(kernels: Kernels): Kernels {
    this.#kernels = kernels;
    const timed = Object.entries(kernels).map(([name, kernel]) => [
      name,
      typeof kernel === "function"
        ? this.#timed(name, kernel, kernels)
        : kernel,
    ]);
    return Object.fromEntries(timed);
  }

  /** Says, of the kinds of work that read rows, how long computing and reading alone take. Gives the ms that watching took. */
  finish(): number {
    const methods = [...this.recorder.work.values()].reduce(
      (sum, { work, calls }) => work === "JavaScript" ? sum + calls : sum,
      0,
    );
    const watchMs = (this.#calls + methods) * this.#callMs();
    const sums = [...this.#samples];
    // Before anything is read again.
    for (const [sum, { kernels, args, bytes, reader }] of sums) {
      if (!reader.inSequence) continue;
      const [, rows] = args;
      const ms = timeOf(() => kernels.read_bytes(rows, bytes));
      sum.readingMs = ms * sum.bytes / bytes;
    }
    for (const [sum, { kernels, kernel, args, ids, bytes, reader }] of sums) {
      if (ids) idsOf(reader, args, kernels)!.set(ids);
      const share = Math.min(1, cachedBytes / bytes);
      const fewer = args.with(
        reader.count,
        Math.max(1, Math.floor(share * args[reader.count])),
      );
      const read = reader.bytes(fewer, kernel(...fewer), kernels);
      const ms = leastTimeOf(() => kernel(...fewer));
      sum.computingMs = read > 0 ? Math.min(sum.ms, ms * sum.bytes / read) : 0;
    }
    return watchMs;
  }

  #timed(
    name: string,
    kernel: Sample["kernel"],
    kernels: Kernels,
  ): Sample["kernel"] {
    const reader = readers[name];
    return (...args) => {
      const start = performance.now();
      const result = kernel(...args);
      const ms = performance.now() - start;
      this.#calls++;
      this.recorder.kernelMs += ms;
      const sum = this.recorder.addWork(name, ms);
      if (reader) {
        const bytes = reader.bytes(args, result, kernels);
        sum.bytes += bytes;
        if (bytes > 0 && !this.#samples.has(sum)) {
          const ids = idsOf(reader, args, kernels)?.slice();
          const sample = { kernels, kernel, args, ids, bytes, reader };
          this.#samples.set(sum, sample);
        }
      }
      return result;
    };
  }

  /** ms that watching a kernel's call takes, and about as many that of a method. */
  #callMs(): number {
    const { recorder } = this, kernels = this.#kernels, { kernelMs } = recorder;
    const empty = this.#timed("heap_base", kernels.heap_base, kernels);
    recorder.stage = "";
    const ms = timeOf(() => {
      for (let i = 0; i < emptyCalls; i++) empty();
    });
    recorder.work.delete(" heap_base");
    recorder.kernelMs = kernelMs;
    return ms / emptyCalls;
  }
}

/** The ids that a call is given. */
function idsOf(
  { ids, count }: Reader,
  args: Numbers,
  { memory }: Kernels,
): Uint32Array | undefined {
  return ids === undefined
    ? undefined
    : new Uint32Array(memory.buffer, args[ids], args[count]);
}

function timeOf(act: () => void): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}

/** The shortest of several times. */
function leastTimeOf(act: () => void): number {
  const start = performance.now();
  let least = Infinity;
  for (
    let i = 0;
    i < leastRepeats || performance.now() - start < repeatMs;
    i++
  ) least = Math.min(least, timeOf(act));
  return least;
}
