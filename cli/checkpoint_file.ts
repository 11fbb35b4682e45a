/**
 * Large files that may be stopped while they are written: the tensors that are
 * whole stay in `PATH.part`, and the same command goes on behind them.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import type { GgufParts } from "../mod.ts";
import { explained, type OutputOptions, writeAll } from "./output_file.ts";
import { note, printable } from "./terminal.ts";
import { Checkpoint } from "./checkpoint.ts";

/** Bytes that are read at a time. */
const chunkBytes = 4 << 20;

/** A file on its way to `path`. */
export class CheckpointedFile {
  /** Results are the CRC-32 of each tensor that is in the file, padding included. */
  private constructor(
    readonly path: string,
    readonly parts: GgufParts,
    readonly work: Checkpoint<number>,
  ) {}

  /**
   * Takes up what there is of `path`; with `force` also where that is of other
   * work, which is given up. `fingerprint` says of what work the file is.
   *
   * @throws {UsageError} where there is a part of other work
   * @throws {FormatError} where its record is damaged
   */
  static async open(
    command: string,
    path: string,
    parts: GgufParts,
    fingerprint: string,
    { force, signal }: OutputOptions,
  ): Promise<CheckpointedFile> {
    // The record of the work lies beside the file that is made.
    const work = await Checkpoint.openForFile(
      command,
      { model: path, force },
      fingerprint,
      readCrc,
    );
    const file = new CheckpointedFile(path, parts, work);
    await file.#check(signal);
    return file;
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
  async finish({ signal, onProgress }: OutputOptions): Promise<number> {
    const { path, work, parts: { tensors } } = this;
    try {
      await work.goOn(tensors.length, "tensors", async () => {
        await this.#write({ signal, onProgress });
        await explained(path, Deno.rename(this.#part, path));
      });
    } catch (error) {
      if (!work.isKept) await Deno.remove(this.#part).catch(() => {});
      throw error;
    }
    return this.written;
  }

  get #part(): string {
    return `${this.path}.part`;
  }

  async #write({ signal, onProgress }: OutputOptions): Promise<void> {
    const { path, work, parts: { header, tensors } } = this;
    let { written } = this;
    const options = { write: true, create: true };
    using file = await explained(path, Deno.open(this.#part, options));
    await explained(path, file.truncate(written));
    await file.seek(written, Deno.SeekMode.Start);
    const add = async (chunk: Uint8Array) => {
      signal?.throwIfAborted();
      await writeAll(path, file, chunk);
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
        printable(this.#part)
      } is damaged: ${intact} of the ${kept} tensors that were kept are whole`,
    );
    await work.keepOnly(intact);
  }

  async #countIntact(signal?: AbortSignal): Promise<number> {
    const { work: { results }, parts: { header, tensors } } = this;
    const file = await Deno.open(this.#part).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    });
    if (!file) return 0;
    using _ = file;
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
