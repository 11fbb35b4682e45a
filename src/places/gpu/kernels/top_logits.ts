/**
 * The largest logits of a row, and log Σ exp of all: each level sorts chunks of
 * the results of the one before.
 */
import { top_logits as body } from "../../../../shaders/shaders.ts";
import type { Grid, Kernel } from "./kernel.ts";

export const topLogits = {
  name: "top_logits",
  bindings: {
    logits: "read u32",
    /**
     * Of each row: (key, id) from even levels, from odd ones, then the bits of
     * (largest, Σ exp(logit - largest)) of every chunk of logits
     */
    scratch: "read_write vec2u",
    /** Of each row: log Σ exp, the logits, the ids */
    top: "read_write u32",
  },
  body: [body],
  params: {
    columns: "u32",
    /** 0 reads the logits, every further level the results of the one before */
    level: "u32",
    /** Room for the results of even and odd levels, of a row */
    even_room: "u32",
    odd_room: "u32",
  },
  /** Values that a workgroup sorts */
  constants: { chunk: 1024 },
} satisfies Kernel;

const { chunk } = topLogits.constants;

/** For each level, when `k` are picked of so many rows of `columns`. */
export function topLogitsGrids(
  columns: number,
  k: number,
  rows: number,
): Grid[] {
  return [columns, ...entriesPassed(columns, k)]
    .map((count) => [Math.ceil(count / chunk), rows]);
}

/** Entries that each level passes to the next, of a row of `columns` of which `k` are picked. */
function entriesPassed(columns: number, k: number): number[] {
  const entries: number[] = [];
  for (let chunks = Math.ceil(columns / chunk); chunks > 1;) {
    entries.push(chunks * k);
    chunks = Math.ceil(chunks * k / chunk);
  }
  return entries;
}

/** What picking at most `k` of a row of `columns` takes. */
export function pickingRoom(columns: number, k: number) {
  const passed = entriesPassed(columns, k);
  const [even = 0, odd = 0] = passed;
  const chunks = Math.ceil(columns / chunk);
  return {
    /** Entries of even and of odd levels */
    even,
    odd,
    /** Entries of a row in all */
    row: even + odd + chunks,
    /** Kernels that follow one another */
    levels: passed.length + 1,
  };
}
