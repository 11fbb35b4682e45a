/** Ranges of a batch's lines, each of which one worker takes. */
import { type BatchLine, readBatch } from "../../server.ts";
import { FormatError } from "../../mod.ts";
import { isObject } from "../../src/formats/json.ts";
import { batchUrls, byPrefix, prefixOf } from "../../src/server/batch/lines.ts";
import { batchIdPattern } from "./batch_id.ts";
import { labUrls } from "./lab_requests.ts";

/** Lines that a worker takes at once. */
export interface Range {
  readonly batch: string;
  /** The model and settings that they are for */
  readonly key: string;
  readonly lines: readonly RangeLine[];
}

/** A line, and its place in the batch. */
export interface RangeLine {
  readonly at: number;
  readonly line: BatchLine;
}

/** How large ranges are. */
export interface RangeSize {
  readonly lines: number;
  /** Of its message */
  readonly bytes: number;
}

/** Most lines of a range, whatever is asked for. */
export const mostLines = 1024;

/**
 * The lines of a batch in ranges, those that begin alike behind one another; a
 * range of more than half of `most.lines` ends where its last line has the least
 * in common with the next one.
 *
 * @throws {FormatError} where a line is longer than a message may be
 */
export function rangesOf(
  batch: string,
  key: string,
  lines: readonly BatchLine[],
  most: RangeSize,
): Range[] {
  const places = new Map(lines.map((line, i) => [line, i]));
  const sorted = byPrefix(lines).map((line) => ({
    at: places.get(line)!,
    line,
    prefix: prefixOf(line),
    bytes: byteLength(lineText(line)) + 1,
  }));
  const headBytes = byteLength(headText({ batch, key, lines: [] })) +
    // Of each place and the comma behind it.
    8 * most.lines;
  const ranges: Range[] = [];
  for (let start = 0; start < sorted.length;) {
    let best = start, shared = Infinity, bytes = headBytes;
    const end = Math.min(start + most.lines, sorted.length);
    for (let i = start; i < end; i++) {
      bytes += sorted[i].bytes;
      if (bytes > most.bytes) break;
      const common = i + 1 === sorted.length
        ? 0
        : commonLength(sorted[i].prefix, sorted[i + 1].prefix);
      const isLong = 2 * (i + 1 - start) > most.lines;
      if (isLong && common > shared) continue;
      best = i + 1;
      shared = isLong ? common : Infinity;
    }
    if (best === start) {
      const { at } = sorted[start];
      throw new FormatError(
        `Cannot queue request ${
          at + 1
        }: its message has ${bytes} bytes, the queue takes ${most.bytes} (max_payload of NATS)`,
      );
    }
    ranges.push({ batch, key, lines: sorted.slice(start, best) });
    start = best;
  }
  return ranges;
}

function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function lineText({ customId, url, body }: BatchLine): string {
  return JSON.stringify({ custom_id: customId, method: "POST", url, body });
}

function headText({ batch, key, lines }: Range): string {
  return JSON.stringify({ batch, key, at: lines.map(({ at }) => at) });
}

/** A range as its message: what it is on the first line, and its requests behind it. */
export function writeRange(range: Range): string {
  const lines = range.lines.map(({ line }) => lineText(line));
  return [headText(range), ...lines].join("\n");
}

/**
 * What a message asks for.
 *
 * @throws {FormatError} where it is no range
 * @throws {UsageError} where one of its lines is no request
 */
export function readRange(data: Uint8Array, most: number): Range {
  if (data.length > most) {
    throw new FormatError(`it has ${data.length} bytes, the limit is ${most}`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    throw new FormatError("it is not UTF-8 text");
  }
  const headEnd = text.indexOf("\n");
  const { batch, key, at } = readHead(text.slice(0, Math.max(0, headEnd)));
  const lines = readBatch(text.slice(headEnd + 1), undefined, [
    ...batchUrls,
    ...Object.values(labUrls),
  ]);
  if (lines.length !== at.length) {
    throw new FormatError(
      `it has ${lines.length} requests, and ${at.length} places for them`,
    );
  }
  return { batch, key, lines: lines.map((line, i) => ({ at: at[i], line })) };
}

/** @throws {FormatError} where it is none */
function readHead(text: string) {
  let head: unknown;
  try {
    head = JSON.parse(text);
  } catch {
    throw new FormatError("its first line is no JSON");
  }
  if (!isObject(head)) throw new FormatError("its first line is no object");
  const { batch, key, at } = head;
  if (typeof batch !== "string" || !batchIdPattern.test(batch)) {
    throw new FormatError("its batch is no id of one");
  }
  if (typeof key !== "string") throw new FormatError("its key is no text");
  const isPlaces = Array.isArray(at) && at.length <= mostLines &&
    at.every((each) => Number.isSafeInteger(each) && each >= 0) &&
    new Set(at).size === at.length;
  if (!isPlaces) {
    throw new FormatError(
      `at is no list of at most ${mostLines} places that differ`,
    );
  }
  return { batch, key, at: at as number[] };
}
