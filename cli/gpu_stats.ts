/**
 * How a GPU took part, in words.
 *
 * @module
 */
import type { GpuCounts, GpuStats } from "../plan.ts";
import { formatBytes } from "./format.ts";

/** What it holds and how it answers: `NVIDIA …: 5.1 GiB, a read-back takes 0.10 ms`. */
export function gpuText({ name, bytes, readBackMs }: GpuStats): string {
  return `gpu: ${name}; ${formatBytes(bytes)}, a read-back takes ${
    readBackMs.toFixed(2)
  } ms`;
}

/** What a GPU did between two moments. */
export function gpuCountsSince(now: GpuCounts, before: GpuCounts): GpuCounts {
  return {
    dispatches: now.dispatches - before.dispatches,
    submits: now.submits - before.submits,
    readBacks: now.readBacks - before.readBacks,
    uploaded: now.uploaded - before.uploaded,
    downloaded: now.downloaded - before.downloaded,
  };
}

/** What it did for each of `tokens` tokens. */
export function gpuCountsText(counts: GpuCounts, tokens: number): string {
  const each = (count: number) => String(Number((count / tokens).toFixed(2)));
  const bytes = (count: number) => formatBytes(Math.round(count / tokens));
  return `gpu, a token: ${each(counts.dispatches)} dispatches, ${
    each(counts.submits)
  } submits, ${each(counts.readBacks)} read-backs, ${
    bytes(counts.uploaded)
  } up, ${bytes(counts.downloaded)} down`;
}
