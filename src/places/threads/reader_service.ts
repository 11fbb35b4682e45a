/**
 * A thread that reads ranges of the model's files before a place does. What it
 * reads it throws away: the system keeps it in memory for the place.
 */
import { type LocalFile, LocalFiles } from "../../bytes/local_files.ts";
import type { TeamOptions } from "../team.ts";
import type { FileRange, ReadQueue } from "./read_queue.ts";
import { Shared } from "./shared.ts";

/** Bytes that are read at once, at most. */
const readBytes = 2 << 20;
/** A page of the system's. */
const pageBytes = 4096;
/** ms that reading a page takes, at most, where the system has it in memory; disks take 0.06 and more. */
const presentMs = 0.03;

/** Threads that read for each place, of so many: all together 4 or one each; more got no more from a disk of 0.1 ms a page, and take time from the places. */
export function readersOfPlace(places: number): number {
  return Math.ceil(4 / places);
}

/** Requested is `run`. */
export class ReaderService {
  /** Reads what place `index` wants, until the team is stopped. */
  run(index: number, shared: SharedArrayBuffer, options: TeamOptions): void {
    const queue = new Shared(options, shared).readQueues[index];
    readAll(queue, options.files!);
  }
}

function readAll(queue: ReadQueue, files: readonly LocalFile[]): void {
  using opened = new LocalFiles(files);
  const bytes = new Uint8Array(readBytes);
  for (let range = queue.take(); range; range = queue.take()) {
    try {
      bring(opened, range, bytes);
    } catch {
      // The place reads the same, and says what is wrong.
    }
  }
}

/** Reads a range, unless its last page is in memory: the others are then, too. */
function bring(
  files: LocalFiles,
  { offset, length }: FileRange,
  bytes: Uint8Array,
): void {
  if (length > 4 * pageBytes) {
    const start = performance.now();
    files.read(offset + length - 1, bytes.subarray(0, 1));
    if (performance.now() - start < presentMs) return;
  }
  for (let done = 0; done < length; done += readBytes) {
    const count = Math.min(readBytes, length - done);
    files.read(offset + done, bytes.subarray(0, count));
  }
}
