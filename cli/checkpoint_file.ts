/**
 * Large files that may be stopped while they are written: the tensors that are
 * whole stay in `PATH.part`, and the same command goes on behind them.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import type { GgufParts } from "../convert.ts";
import { Checkpoint, isUnfinished } from "./checkpoint.ts";
import {
  OutputFile,
  type OutputOptions,
  type WriteOptions,
} from "./output_file.ts";
import { note, printable } from "./terminal.ts";

/** Bytes that are read at a time. */
const chunkBytes = 4 << 20;

/** Where the record of what is whole lies: beside the file that is made. */
function recordPath(command: string, path: string): string {
  return `${path}.${command}`;
}

/** Claims a file of which a part may be there. */
export async function openCheckpointed(
  command: string,
  path: string,
  options: OutputOptions,
): Promise<OutputFile> {
  const record = recordPath(command, path);
  // Of work that was killed before anything was kept, only the record's part is there.
  const goesOn = await isUnfinished(command, record) ||
    await isUnfinished(command, `${record}.part`);
  const output = await OutputFile.open(path, { ...options, goesOn });
  output.keepsPart = goesOn;
  return output;
}

/** A file on its way to its place. */
export class CheckpointedFile implements Disposable {
  /** Results are the CRC-32 of each tensor that is in the file, padding included. */
  private constructor(
    readonly output: OutputFile,
    readonly parts: GgufParts,
    readonly work: Checkpoint<number>,
  ) {}

  /**
   * Takes up what there is of a file that {@linkcode openCheckpointed} claimed;
   * with `force` also where that is of other work, which is given up.
   * `fingerprint` says of what work the file is.
   *
   * @throws {UsageError} where there is a part of other work
   * @throws {FormatError} where its record is damaged
   */
  static async open(
    command: string,
    output: OutputFile,
    parts: GgufParts,
    fingerprint: string,
    { force, signal }: Pick<OutputOptions, "force"> & WriteOptions,
  ): Promise<CheckpointedFile> {
    const state = recordPath(command, output.path);
    const work = await Checkpoint.open(
      command,
      { state, force },
      fingerprint,
      readCrc,
      { forceKeepsWork: true },
    );
    const file = new CheckpointedFile(output, parts, work);
    try {
      await file.#check(signal);
      output.keepsPart = work.isKept;
      return file;
    } catch (error) {
      work[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes that are written. */
  get written(): number {
    const { header, tensors } = this.parts;
    const whole = tensors.slice(0, this.work.results.length);
    return whole.reduce(
      (sum, { byteLength }) => sum + byteLength,
      whole.length > 0 ? header.length : 0,
    );
  }

  /**
   * Writes what is missing, and moves the file to its place. Returns its size.
   * Where that is stopped and no tensor is whole, nothing is left behind.
   */
  async finish(options: WriteOptions): Promise<number> {
    const { output, work, parts: { tensors } } = this;
    try {
      await work.goOn(tensors.length, "tensors", async () => {
        await this.#write(options);
        await output.moveToPlace();
      });
    } catch (error) {
      output.keepsPart = work.isKept;
      throw error;
    }
    return this.written;
  }

  /** Lets other commands write the record. */
  [Symbol.dispose](): void {
    this.work[Symbol.dispose]();
  }

  async #write({ signal, onProgress }: WriteOptions): Promise<void> {
    const { output, work, parts: { header, tensors } } = this;
    let { written } = this;
    await output.continueAt(written);
    const add = async (chunk: Uint8Array) => {
      signal?.throwIfAborted();
      await output.append(chunk);
      written += chunk.length;
      onProgress?.(written);
    };
    if (written === 0) await add(header);
    for (const tensor of tensors.slice(work.results.length)) {
      let crc = 0;
      for await (const chunk of tensor.chunks()) {
        crc = crc32(chunk, crc);
        await add(chunk);
      }
      await work.add(crc);
      output.keepsPart = work.isKept;
    }
  }

  /** Forgets the tensors behind the first one that is not in the file as it was written. */
  async #check(signal?: AbortSignal): Promise<void> {
    const { work } = this;
    const kept = work.results.length;
    if (kept === 0) return;
    const intact = await this.#countIntact(signal);
    if (intact === kept) return;
    note(
      `warning: ${
        printable(this.output.part)
      } is damaged: ${intact} of the ${kept} tensors that were kept are whole`,
    );
    await work.keepOnly(intact);
  }

  async #countIntact(signal?: AbortSignal): Promise<number> {
    const { output: { file }, work: { results }, parts } = this;
    const { header, tensors } = parts;
    if (await readCrc32(file, header.length, signal) !== crc32(header)) {
      return 0;
    }
    const kept = tensors.slice(0, results.length);
    for (const [i, { byteLength }] of kept.entries()) {
      if (await readCrc32(file, byteLength, signal) !== results[i]) return i;
    }
    return kept.length;
  }
}

/** The CRC-32 of a file's next bytes; `undefined` where it ends before. */
async function readCrc32(
  file: Deno.FsFile,
  length: number,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const buffer = new Uint8Array(Math.min(length, chunkBytes));
  let crc = 0;
  for (let left = length; left > 0;) {
    signal?.throwIfAborted();
    const read = await file.read(buffer.subarray(0, left));
    if (read === null) return undefined;
    crc = crc32(buffer.subarray(0, read), crc);
    left -= read;
  }
  return crc;
}

function readCrc(value: unknown): number | undefined {
  return Number.isInteger(value) ? value as number : undefined;
}
