/** Local files that are read in the thread that asks: it waits for the bytes. */
import type * as Files from "node:fs";
import { FormatError, UsageError } from "../errors.ts";
import { nodeModule } from "../platform/node_module.ts";
import type { ByteSource } from "./byte_source.ts";

/** A file, as it was when it was opened first. */
export type LocalFile = NonNullable<ByteSource["localFiles"]>[number];

interface OpenedFile {
  readonly file: LocalFile;
  readonly fd: number;
  /** Where it begins */
  readonly start: number;
}

/** Files that are read as one, one behind another. Fit for one thread: each opens its own. */
export class LocalFiles implements Disposable {
  readonly #fs: typeof Files;
  readonly #opened: OpenedFile[] = [];
  /** Those that were read and not checked since */
  readonly #unchecked = new Set<OpenedFile>();

  /** @throws {UsageError} where one cannot be opened */
  constructor(files: readonly LocalFile[]) {
    this.#fs = nodeModule("node:fs")!;
    let start = 0;
    try {
      for (const file of files) {
        this.#opened.push({ file, fd: this.#open(file), start });
        start += file.size;
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Fills `bytes` with what stands from `offset` on.
   *
   * @throws {FormatError} where a file has become too short; {@linkcode check}
   *   says whether it is as it was
   */
  read(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    for (const opened of this.#opened) {
      const { file, start } = opened;
      const from = Math.max(offset, start);
      const to = Math.min(end, start + file.size);
      if (from >= to) continue;
      this.#unchecked.add(opened);
      this.#fill(
        opened,
        from - start,
        bytes.subarray(from - offset, to - offset),
      );
    }
  }

  /**
   * Sees whether what was read since the last time is of files that are as they
   * were. For many reads together, for it takes Deno as long as ten.
   *
   * @throws {FormatError} where one is not
   */
  check(): void {
    for (const opened of this.#unchecked) this.#check(opened);
    this.#unchecked.clear();
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    for (const { fd } of this.#opened.splice(0)) this.#fs.closeSync(fd);
  }

  #open({ path }: LocalFile): number {
    const at = path.startsWith("file://") ? new URL(path) : path;
    try {
      return this.#fs.openSync(at, "r");
    } catch (cause) {
      throw new UsageError(
        `Cannot open ${path}: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  #fill(opened: OpenedFile, position: number, bytes: Uint8Array): void {
    const { file, fd } = opened;
    const { length } = bytes;
    for (let filled = 0; filled < length;) {
      const count = this.#fs
        .readSync(fd, bytes, filled, length - filled, position + filled);
      if (count === 0) {
        this.#check(opened);
        throw new FormatError(
          `Cannot read ${file.path}: needs bytes ${position}..${
            position + length
          }, the file ended at ${position + filled} while the model ran`,
        );
      }
      filled += count;
    }
  }

  #check({ file: { path, size, mtimeMs }, fd }: OpenedFile): void {
    const now = this.#fs.fstatSync(fd);
    if (now.size !== size) {
      throw new FormatError(
        `Cannot read ${path}: it had ${size} bytes when the model was loaded, now it has ${now.size}`,
      );
    }
    if (now.mtimeMs !== mtimeMs) {
      const at = (ms: number) => new Date(ms).toISOString();
      throw new FormatError(
        `Cannot read ${path}: it was written at ${
          at(now.mtimeMs)
        } while the model ran, before at ${at(mtimeMs)}`,
      );
    }
  }
}
