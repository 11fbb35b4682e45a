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

/**
 * Claims a file of which a part may be there: one of those whose record lies
 * beside `path`.
 */
export async function openCheckpointed(
  command: string,
  path: string,
  options: OutputOptions,
  file = path,
): Promise<OutputFile> {
  const record = recordPath(command, path);
  // Of work that was killed before anything was kept, only the record's part is there.
  const goesOn = await isUnfinished(command, record) ||
    await isUnfinished(command, `${record}.part`);
  const output = await OutputFile.open(file, { ...options, goesOn });
  output.keepsPart = goesOn && (await output.file.stat()).size > 0;
  return output;
}

/** A file, or several that are made together, on the way to their places. */
export class CheckpointedFile implements Disposable {
  /** Results are the CRC-32 of each tensor that is in its file, padding included. */
  private constructor(
    readonly outputs: readonly OutputFile[],
    readonly files: readonly GgufParts[],
    readonly work: Checkpoint<number>,
  ) {}

  /**
   * Takes up what there is of files that {@linkcode openCheckpointed} claimed
   * with `path`; with `force` also where that is of other work, which is given
   * up. `fingerprint` says of what work the files are.
   *
   * @throws {UsageError} where there is a part of other work
   * @throws {FormatError} where its record is damaged
   */
  static async open(
    command: string,
    path: string,
    outputs: readonly OutputFile[],
    files: readonly GgufParts[],
    fingerprint: string,
    { force, signal }: Pick<OutputOptions, "force"> & WriteOptions,
  ): Promise<CheckpointedFile> {
    const state = recordPath(command, path);
    const work = await Checkpoint.open(
      command,
      { state, force },
      fingerprint,
      readCrc,
      { forceKeepsWork: true },
    );
    const made = new CheckpointedFile(outputs, files, work);
    try {
      await made.#check(signal);
      made.#keepParts();
      return made;
    } catch (error) {
      work[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes that are written. */
  get written(): number {
    return this.#each(lengthOf).reduce((sum, bytes) => sum + bytes, 0);
  }

  /**
   * Writes what is missing, and moves the files to their places. Returns their
   * size. Where that is stopped and no tensor is whole, nothing is left behind.
   */
  async finish(options: WriteOptions): Promise<number> {
    const { outputs, work, files } = this;
    const count = files.reduce((sum, { tensors }) => sum + tensors.length, 0);
    try {
      await work.goOn(count, "tensors", async () => {
        await this.#write(options);
        for (const output of outputs) await output.moveToPlace();
      });
    } catch (error) {
      this.#keepParts();
      throw error;
    }
    return this.written;
  }

  /** Lets other commands write the record. */
  [Symbol.dispose](): void {
    this.work[Symbol.dispose]();
  }

  /** What `use` makes of each file and of how many of its tensors are whole. */
  #each<T>(
    use: (file: GgufParts, whole: number, output: OutputFile) => T,
  ): T[] {
    let left = this.work.results.length;
    return this.files.map((file, i) => {
      const whole = Math.min(left, file.tensors.length);
      left -= whole;
      return use(file, whole, this.outputs[i]);
    });
  }

  /** Parts stay where a tensor of any is known to be whole. */
  #keepParts(): void {
    for (const output of this.outputs) output.keepsPart = this.work.isKept;
  }

  async #write({ signal, onProgress }: WriteOptions): Promise<void> {
    let { written } = this;
    const writeOne = async (
      file: GgufParts,
      whole: number,
      output: OutputFile,
    ) => {
      const add = async (chunk: Uint8Array) => {
        signal?.throwIfAborted();
        await output.append(chunk);
        written += chunk.length;
        onProgress?.(written);
      };
      await output.continueAt(lengthOf(file, whole));
      if (whole === 0) await add(file.header);
      for (const tensor of file.tensors.slice(whole)) {
        let crc = 0;
        for await (const chunk of tensor.chunks()) {
          crc = crc32(chunk, crc);
          await add(chunk);
        }
        await this.work.add(crc);
        this.#keepParts();
      }
    };
    const left = this.#each((file, whole, output) => () =>
      writeOne(file, whole, output)
    );
    for (const write of left) await write();
  }

  /** Forgets the tensors behind the first one that is not in its file as it was written. */
  async #check(signal?: AbortSignal): Promise<void> {
    const { work } = this;
    const kept = work.results.length;
    let intact = 0;
    const checks = this.#each((file, whole, output) => async () => {
      const results = work.results.slice(intact, intact + whole);
      const found = await countIntact(output, file, results, signal);
      intact += found;
      if (found === whole) return true;
      note(
        `warning: ${
          printable(output.part)
        } is damaged: ${found} of the ${whole} tensors that were kept are whole`,
      );
      return false;
    });
    for (const check of checks) if (!await check()) break;
    if (intact < kept) await work.keepOnly(intact);
  }
}

/** Bytes of a file of which the first `whole` tensors are there. */
function lengthOf({ header, tensors }: GgufParts, whole: number): number {
  return tensors.slice(0, whole).reduce(
    (sum, { byteLength }) => sum + byteLength,
    whole > 0 ? header.length : 0,
  );
}

/** How many tensors, from the first on, have the CRC-32 that they were written with. */
async function countIntact(
  { file }: OutputFile,
  { header, tensors }: GgufParts,
  results: readonly number[],
  signal?: AbortSignal,
): Promise<number> {
  if (results.length === 0) return 0;
  if (await readCrc32(file, header.length, signal) !== crc32(header)) return 0;
  for (const [i, crc] of results.entries()) {
    const { byteLength } = tensors[i];
    if (await readCrc32(file, byteLength, signal) !== crc) return i;
  }
  return results.length;
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
