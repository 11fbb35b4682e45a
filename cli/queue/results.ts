/** Reading the results of a batch from its queue. */
import type { JsMsg } from "@nats-io/jetstream";
import { CulmError } from "../../mod.ts";
import type { BatchResult } from "../../server.ts";
import { readResult } from "../../src/server/batch/run.ts";
import { sha256 } from "../checkpoint.ts";
import { note, printable } from "../terminal.ts";
import {
  type Manifest,
  placeOf,
  type Queue,
  resultStream,
  subjects,
} from "./queue.ts";

/** How results are waited for. */
export interface ResultOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (done: number) => void;
}

/** Between two signs of life of what gives results, in ms; it is asked again where two are missing. */
const heartbeat = 1000;
/** Between two looks whether a batch was cancelled, in ms. */
const lookEvery = 2000;

/** A digest of the ids of a batch, in the order of its lines. */
export async function idsOf(customIds: readonly string[]): Promise<string> {
  return await sha256(JSON.stringify(customIds));
}

/**
 * The results of a batch in the order of its lines, once all are there; those
 * that there are of one that was cancelled. What is no result is removed.
 *
 * @throws {CulmError} where some are none, or are not of its lines
 */
export async function readResults(
  queue: Queue,
  batch: string,
  manifest: Manifest,
  { signal, onProgress }: ResultOptions,
): Promise<BatchResult[]> {
  const { lines } = manifest;
  const results = new Map<number, BatchResult>();
  const removed = new Set<number>();
  const hasAll = (count: number) => results.size + removed.size >= count;
  const consumer = await queue.js.consumers.get(resultStream, {
    filter_subjects: subjects.result(batch, "*"),
  });
  // Those that come after the queue's server was started anew are asked for again.
  const messages = await consumer.consume({
    expires: 10 * heartbeat,
    idle_heartbeat: heartbeat,
  });
  const stop = () => messages.stop();
  signal.addEventListener("abort", stop);
  const looking = setInterval(async () => {
    const count = await countOfEnded(queue, batch, lines).catch(() =>
      undefined
    );
    if (count !== undefined && hasAll(count)) stop();
  }, lookEvery);
  try {
    for await (const message of messages) {
      const at = placeOf(message.subject, lines);
      if (at === undefined) {
        const why = `the batch has ${lines} requests, and none there`;
        await remove(queue, message, why);
        continue;
      }
      const result = parsed(message.data);
      if (result) {
        results.set(at, result);
        removed.delete(at);
      } else {
        await remove(queue, message, "it is no result");
        removed.add(at);
      }
      onProgress(results.size);
      if (hasAll(lines)) break;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    clearInterval(looking);
    stop();
  }
  signal.throwIfAborted();
  if (removed.size > 0) {
    throw new CulmError(
      `Cannot write the results: ${removed.size} of ${lines} were none, and are removed; culm batch submit with the same file has these requests answered again`,
    );
  }
  const ordered = [...results].sort(([a], [b]) => a - b)
    .map(([, result]) => result);
  if (ordered.length === lines) await checkIds(ordered, manifest);
  return ordered;
}

/** How many results there are of a batch to which none are added any more; undefined for others. */
async function countOfEnded(
  queue: Queue,
  batch: string,
  lines: number,
): Promise<number | undefined> {
  const manifest = await queue.manifest(batch);
  if (manifest && !manifest.cancelled) return undefined;
  return (await queue.answered(batch, lines)).size;
}

/** Removes a message that is no result, which is told. */
async function remove(
  queue: Queue,
  { seq, subject }: JsMsg,
  why: string,
): Promise<void> {
  note(printable(`removed ${subject}: ${why}`));
  await queue.manager.streams.deleteMessage(resultStream, seq);
}

function parsed(data: Uint8Array): BatchResult | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
    return readResult(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** @throws {CulmError} where results are of other lines than those at whose places they are */
async function checkIds(
  results: readonly BatchResult[],
  { ids }: Manifest,
): Promise<void> {
  if (await idsOf(results.map(({ custom_id }) => custom_id)) === ids) return;
  throw new CulmError(
    "Cannot write the results: their custom_ids are not those of the requests; culm batch delete forgets them",
  );
}
