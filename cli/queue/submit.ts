/** Puts a batch into the queue. */
import { UsageError } from "../../mod.ts";
import type { BatchLine } from "../../server.ts";
import { note, ProgressBar } from "../terminal.ts";
import { type Manifest, type Queue, subjects } from "./queue.ts";
import { type Range, rangesOf, writeRange } from "./ranges.ts";
import { idsOf } from "./results.ts";

/** A batch that is submitted. */
export interface Submission {
  readonly batch: string;
  readonly key: string;
  /** The time that its answers state, in seconds since 1970 */
  readonly created: number;
  readonly lines: readonly BatchLine[];
}

/** How it is submitted. */
export interface SubmitOptions {
  /** Most lines of a range */
  readonly lines: number;
  readonly signal: AbortSignal;
}

/** Ranges that are on their way to the queue at the same time. */
const concurrency = 32;

/**
 * Puts a batch into the queue, or what is not there yet of the same one; gives
 * the number of its ranges.
 *
 * @throws {UsageError} where the batch was cancelled
 * @throws {FormatError} where a line is longer than a message may be
 */
export async function submitBatch(
  queue: Queue,
  { batch, key, created, lines }: Submission,
  { lines: most, signal }: SubmitOptions,
): Promise<number> {
  const ranges = rangesOf(batch, key, lines, {
    lines: most,
    bytes: queue.mostBytes,
  });
  const answered = await begin(queue, batch, {
    key,
    lines: lines.length,
    ids: await idsOf(lines.map(({ customId }) => customId)),
    created,
    submitted: false,
    cancelled: false,
  });
  await addAll(queue, ranges, answered, lines.length, signal);
  await queue.change(batch, { submitted: true });
  return ranges.length;
}

/** Enters a batch, or finds the same one; gives the places of the lines that are answered. */
async function begin(
  queue: Queue,
  batch: string,
  manifest: Manifest,
): Promise<Set<number>> {
  const there = await queue.manifest(batch);
  if (!there) {
    await queue.enter(batch, manifest);
    return new Set();
  }
  if (there.cancelled) {
    throw new UsageError(
      `Cannot submit ${batch}: it was cancelled; culm batch delete forgets it`,
    );
  }
  const answered = await queue.answered(batch, manifest.lines);
  note(
    `going on with ${batch}: ${answered.size} of ${manifest.lines} requests are answered`,
  );
  return answered;
}

/** Queues what of the ranges is not answered, and does not wait already. */
async function addAll(
  queue: Queue,
  ranges: readonly Range[],
  answered: ReadonlySet<number>,
  total: number,
  signal: AbortSignal,
): Promise<void> {
  using bar = new ProgressBar("submitting", "requests");
  let done = 0, end = 0;
  const waiting = ranges.values();
  const addSome = async () => {
    for (const range of waiting) {
      const { key, batch } = range;
      // Where ranges have another size, those of the same name have the same lines.
      const name = `${end}-${end += range.lines.length}`;
      const lines = range.lines.filter(({ at }) => !answered.has(at));
      if (lines.length > 0) {
        const subject = subjects.range(key, batch, name);
        await queue.add(subject, writeRange({ ...range, lines }), signal);
      }
      bar.update(done += range.lines.length, total);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, addSome));
}
