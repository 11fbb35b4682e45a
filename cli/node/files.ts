/** Deno's functions for files, of Node's. */
import fs from "node:fs";
import { later, now } from "./errors.ts";

const {
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
} = fs.constants;

type FileInfo = Pick<
  Deno.FileInfo,
  "isFile" | "isDirectory" | "isSymlink" | "size" | "mode" | "dev" | "ino"
>;

function infoOf(stats: fs.Stats): FileInfo {
  const { size, mode, dev, ino } = stats;
  return {
    isFile: stats.isFile(),
    isDirectory: stats.isDirectory(),
    isSymlink: stats.isSymbolicLink(),
    size,
    mode,
    dev,
    // Windows' are longer than a number.
    ino: process.platform === "win32" ? null : ino,
  };
}

/** An open file, and where the next byte is read or written. */
class FsFile implements Disposable {
  #position = 0;

  constructor(readonly descriptor: number) {}

  async read(bytes: Uint8Array): Promise<number | null> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const { descriptor } = this;
    const position = this.#position;
    fs.read(
      descriptor,
      { buffer: bytes, position },
      (error, count) => error ? reject(error) : resolve(count),
    );
    const count = await later(promise);
    this.#position += count;
    return count === 0 && bytes.length > 0 ? null : count;
  }

  async write(bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const position = this.#position;
    fs.write(
      this.descriptor,
      bytes,
      { position },
      (error, count) => error ? reject(error) : resolve(count),
    );
    const count = await later(promise);
    this.#position += count;
    return count;
  }

  seek(position: number, _whence: Deno.SeekMode.Start): Promise<number> {
    return Promise.resolve(this.#position = position);
  }

  truncate(length: number): Promise<void> {
    now(() => fs.ftruncateSync(this.descriptor, length));
    return Promise.resolve();
  }

  stat(): Promise<FileInfo> {
    return Promise.resolve(this.statSync());
  }

  statSync(): FileInfo {
    return now(() => infoOf(fs.fstatSync(this.descriptor)));
  }

  /** Node locks no files. */
  tryLockSync(_exclusive: boolean): never {
    throw new Error("Cannot lock files here");
  }

  close(): void {
    fs.closeSync(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openSync(path: string, options: Deno.OpenOptions = {}): FsFile {
  const { append, write = append, create, createNew, mode } = options;
  const { read = !write } = options;
  const flags = (write ? read ? O_RDWR : O_WRONLY : O_RDONLY) |
    (append ? O_APPEND : 0) | (create ? O_CREAT : 0) |
    (createNew ? O_CREAT | O_EXCL : 0);
  return now(() => new FsFile(fs.openSync(path, flags, mode)));
}

async function* readDir(
  path: string,
): AsyncGenerator<Pick<Deno.DirEntry, "name" | "isFile" | "isDirectory">> {
  const entries = await later(
    fs.promises.readdir(path, { withFileTypes: true }),
  );
  for (const entry of entries) {
    yield {
      name: entry.name,
      isFile: entry.isFile(),
      isDirectory: entry.isDirectory(),
    };
  }
}

export const files = {
  SeekMode: { Start: 0 },
  openSync,
  // deno-lint-ignore require-await -- rejects where it cannot be opened
  open: async (path: string, options?: Deno.OpenOptions) =>
    openSync(path, options),
  readDir,
  readFile: (path: string) => later(fs.promises.readFile(path)),
  readTextFile: (path: string) => later(fs.promises.readFile(path, "utf8")),
  writeTextFile: (
    path: string,
    text: string,
    { append, mode }: Deno.WriteFileOptions = {},
  ) =>
    later(fs.promises.writeFile(path, text, {
      mode,
      flag: O_WRONLY | O_CREAT | (append ? O_APPEND : fs.constants.O_TRUNC),
    })),
  stat: async (path: string) => infoOf(await later(fs.promises.stat(path))),
  statSync: (path: string) => now(() => infoOf(fs.statSync(path))),
  lstat: async (path: string) => infoOf(await later(fs.promises.lstat(path))),
  lstatSync: (path: string) => now(() => infoOf(fs.lstatSync(path))),
  mkdir: (path: string, options: Deno.MkdirOptions) =>
    later(fs.promises.mkdir(path, options)),
  realPath: (path: string) => later(fs.promises.realpath(path)),
  remove: async (path: string) => {
    const { isDirectory } = infoOf(await later(fs.promises.lstat(path)));
    await later(isDirectory ? fs.promises.rmdir(path) : fs.promises.rm(path));
  },
  removeSync: (path: string) => now(() => fs.rmSync(path)),
  rename: (from: string, to: string) => later(fs.promises.rename(from, to)),
};
