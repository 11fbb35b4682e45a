/**
 * What places do where they meet, for places that share a thread. Threads do
 * the same over shared memory in `threads/shared.ts`.
 *
 * @module
 */
import type { Sparsity } from "../plan/sparsity.ts";
import type { Side } from "../plan/schedule.ts";
import type { Batch } from "./batch.ts";
import type { CpuSidePlace, GpuSidePlace, Meeting } from "./place.ts";

/** The places of a team. */
export interface Sides {
  readonly cpu: readonly CpuSidePlace[];
  readonly gpu?: GpuSidePlace;
}

/** Does what a meeting is for. */
export async function exchange(
  { exchange, stage }: Meeting,
  { cpu, gpu }: Sides,
  batch: Batch,
  sparsity: Sparsity,
): Promise<void> {
  switch (exchange) {
    case "sum": {
      const partials = cpu.map((place) => place.partial(batch));
      for (const place of cpu) {
        for (const partial of partials) place.accumulate(partial, batch);
      }
      break;
    }
    case "sum-to-gpu":
      gpu!.addToResidual(
        sumOf(cpu.map((place) => place.partial(batch))),
        batch,
      );
      break;
    case "residual-to-gpu":
      gpu!.setResidual(cpu[0].residual(batch), batch);
      break;
    case "residual-to-cpu": {
      const residual = await gpu!.residual(batch);
      for (const place of cpu) place.setResidual(residual, batch);
      break;
    }
    case "top-k":
      await keepTop({ cpu, gpu }, stage.sides, batch, sparsity);
  }
}

/** Adds rows up, in their order. */
export function sumOf(rows: readonly Float32Array[]): Float32Array {
  const sum = rows[0].slice();
  for (const row of rows.slice(1)) {
    for (let i = 0; i < sum.length; i++) sum[i] += row[i];
  }
  return sum;
}

async function keepTop(
  { cpu, gpu }: Sides,
  sides: readonly Side[],
  batch: Batch,
  sparsity: Sparsity,
): Promise<void> {
  const places = [
    ...(sides.includes("cpu") ? cpu : []),
    ...(gpu && sides.includes("gpu") ? [gpu] : []),
  ];
  const values: Float32Array[][] = [];
  for (const place of places) values.push(await place.neurons(batch));
  const thresholds = topKThresholds(
    batch,
    sparsity,
    (t) => values.map((rows) => rows[t]),
  );
  for (const place of places) place.keepAbove(batch, thresholds);
}

/**
 * The {@linkcode topKThreshold} of each token, of whose h `valuesOf` gives all:
 * the mode's share is kept, or the token's own.
 */
export function topKThresholds(
  batch: Batch,
  sparsity: Sparsity,
  valuesOf: (token: number) => readonly Float32Array[],
): Float32Array {
  const share = sparsity.mode === "top-k" ? sparsity.share : 1;
  return Float32Array.from(
    { length: batch.length },
    (_, t) => topKThreshold(valuesOf(t), batch.keep[t] || share),
  );
}

/**
 * The largest |h| that is dropped when the largest `share` of all values is
 * kept: what is above it stays. -1 where nothing is dropped.
 */
export function topKThreshold(
  values: readonly Float32Array[],
  share: number,
): number {
  const count = values.reduce((sum, part) => sum + part.length, 0);
  const kept = Math.ceil(share * count);
  if (kept >= count) return -1;
  // Most are zero, and need no sorting.
  const magnitudes = new Float32Array(count);
  let filled = 0;
  for (const part of values) {
    for (const value of part) {
      if (value !== 0) magnitudes[filled++] = Math.abs(value);
    }
  }
  return kept < filled
    ? magnitudes.subarray(0, filled).sort()[filled - kept - 1]
    : 0;
}
