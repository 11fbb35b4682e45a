/**
 * Files that commands write. A command claims them when it starts, so that two
 * never write the same one, and what cannot be written is found at once: until
 * a file is whole it lies in `PATH.part`, which its command holds locked.
 *
 * @module
 */
import { CulmError } from "../mod.ts";
import { partNames } from "../src/bytes/parts.ts";
import { onExit } from "../src/platform/exit.ts";
import { formatSystemError } from "./format.ts";
import { note, printable } from "./terminal.ts";

/** How a file is claimed. */
export interface OutputOptions {
  /** Replaces a file that is there. */
  readonly force?: boolean;
  /** Files, and folders of files, that the command reads: none is replaced. */
  readonly inputs?: readonly string[];
  /** What lies in `PATH.part` is known as this command's own unfinished work. */
  readonly goesOn?: boolean;
}

/** How a file is written. */
export interface WriteOptions {
  /** Gives up. */
  readonly signal?: AbortSignal;
  /** Told how many bytes are written. */
  readonly onProgress?: (written: number) => void;
}

/** Content of a file, first byte to last. */
type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Whether there is a file, or anything else, at a path. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, (error) => {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false;
  });
}

/** What is said where a file would be replaced unasked. */
export function thereAlready(path: string): CulmError {
  return new CulmError(
    `Cannot write ${path}: it is there already; --force replaces it`,
  );
}

/** Files that are claimed. A process that ends leaves no part of them behind. */
const claimed = new Set<OutputFile>();
onExit(() => {
  for (const output of claimed) output[Symbol.dispose]();
});

/** A file that a command writes, claimed until it is disposed of. */
export class OutputFile implements Disposable {
  /** The part, open while the file is claimed. */
  #file!: Deno.FsFile;
  #replaces: boolean;
  /** Whether the part stays where the file does not become whole. */
  keepsPart = false;

  private constructor(
    readonly path: string,
    /** Where the path leads through links, which stay. */
    readonly target: string,
    /** Who may read and write it. */
    readonly mode: number | undefined,
    replaces: boolean,
  ) {
    this.#replaces = replaces;
  }

  /**
   * Claims a file.
   *
   * @throws {CulmError} where it cannot be written, is there already, is an
   *   input, or is being written by another command
   */
  static async open(
    path: string,
    { force = false, inputs = [], goesOn = false }: OutputOptions = {},
  ): Promise<OutputFile> {
    if (path === "") throw new CulmError("Cannot write a file without a name");
    let target = path, mode: number | undefined;
    if (await exists(path)) {
      if (!force) throw thereAlready(path);
      ({ target, mode } = await replaceable(path));
    }
    const output = new OutputFile(path, target, mode, force);
    await checkNoInput(path, [path, output.part], inputs);
    output.#claim(goesOn);
    return output;
  }

  /** The part, where it is written piece by piece. */
  get file(): Deno.FsFile {
    return this.#file;
  }

  /** Where it lies until it is whole. */
  get part(): string {
    return `${this.target}.part`;
  }

  /** Writes the file. Returns its size. */
  async write(chunks: Chunks, options?: WriteOptions): Promise<number> {
    const written = await this.fill(chunks, options);
    await this.moveToPlace();
    return written;
  }

  /** Writes all of the file, and says so. */
  async writeWhole(content: string | Uint8Array): Promise<void> {
    await this.write([
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]);
    note(`wrote ${printable(this.path)}`);
  }

  /** Writes the file as it is so far, and keeps it claimed. */
  async save(chunks: Chunks): Promise<void> {
    await this.write(chunks);
    this.#claim(false);
  }

  /** Writes the part alone. Returns its size. */
  async fill(
    chunks: Chunks,
    { signal, onProgress }: WriteOptions = {},
  ): Promise<number> {
    await this.continueAt(0);
    let written = 0;
    for await (const chunk of chunks) {
      signal?.throwIfAborted();
      await this.append(chunk);
      written += chunk.length;
      onProgress?.(written);
    }
    return written;
  }

  /** Keeps so many bytes of the part, behind which the next ones go. */
  async continueAt(length: number): Promise<void> {
    await explained(this.path, this.#file.truncate(length));
    await this.#file.seek(length, Deno.SeekMode.Start);
  }

  /** Writes a chunk behind what was written before. */
  async append(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0;) {
      rest = rest.subarray(await explained(this.path, this.#file.write(rest)));
    }
  }

  /**
   * Moves the part to its place: the file is whole.
   *
   * @throws {CulmError} where something has turned up there meanwhile
   */
  async moveToPlace(): Promise<void> {
    const { path, target } = this;
    if (!this.#replaces && await exists(path)) throw thereAlready(path);
    await explained(path, Deno.rename(this.part, target));
    this.#replaces = true; // From now on it is its own.
    this.#release();
  }

  /** Gives the claim up; a part that is not kept goes away. */
  [Symbol.dispose](): void {
    if (!claimed.has(this)) return;
    if (!this.keepsPart) {
      try {
        if (this.#isOwn()) Deno.removeSync(this.part);
      } catch {
        // It stays.
      }
    }
    this.#release();
  }

  /**
   * Makes the part, or takes up one that is there. Nothing here waits: a
   * process that ends meanwhile would leave it behind.
   */
  #claim(goesOn: boolean): void {
    const { path, part, mode } = this;
    const options = { read: true, write: true, mode };
    let isThere = false;
    try {
      this.#file = Deno.openSync(part, { ...options, createNew: true });
    } catch (error) {
      isThere = error instanceof Deno.errors.AlreadyExists;
      if (!isThere) throw failure(path, error);
      if (!Deno.lstatSync(part).isFile) throw leftBehind(path, part);
      try {
        this.#file = Deno.openSync(part, options);
      } catch (error) {
        throw failure(path, error);
      }
    }
    const isFree = tryLock(this.#file);
    const isOurs = isFree && this.#isOwn() &&
      (!isThere || goesOn || this.#file.statSync().size === 0);
    if (isOurs) {
      claimed.add(this);
      return;
    }
    this.#file.close();
    throw isFree ? leftBehind(path, part) : new CulmError(
      `Cannot write ${path}: another command is writing it`,
    );
  }

  /** Whether the path of the part still leads to the file that is open. */
  #isOwn(): boolean {
    const open = this.#file.statSync();
    try {
      const there = Deno.lstatSync(this.part);
      // Windows, which numbers no files, lets nobody move one that is open.
      return open.ino === null ||
        there.dev === open.dev && there.ino === open.ino;
    } catch {
      return false;
    }
  }

  #release(): void {
    claimed.delete(this);
    this.#file.close();
  }
}

/** Whether another command is writing the file at a path. */
export async function isBeingWritten(path: string): Promise<boolean> {
  const options = { read: true, write: true };
  const file = await Deno.open(`${path}.part`, options).catch(() => undefined);
  using _ = file;
  return file !== undefined && !tryLock(file);
}

/** Locks a file; says whether it is ours. Where files cannot be locked, having it open is all there is. */
function tryLock(file: Deno.FsFile): boolean {
  try {
    return file.tryLockSync(true);
  } catch {
    return true;
  }
}

function leftBehind(path: string, part: string): CulmError {
  return new CulmError(
    `Cannot write ${path}: ${part} is there already, and may be yours; remove it if a command that was killed left it behind`,
  );
}

/**
 * Where the file at a path lies, and who may read and write it.
 *
 * @throws {CulmError} where something is there that is no file: a folder, a
 *   device, a link that leads nowhere
 */
async function replaceable(
  path: string,
): Promise<{ target: string; mode?: number }> {
  const there = await statOf(path);
  if (!there?.isFile) {
    const what = there
      ? there.isDirectory ? "a directory" : "no regular file"
      : "a link that leads nowhere";
    throw new CulmError(`Cannot write ${path}: it is ${what}`);
  }
  const { isSymlink } = await Deno.lstat(path);
  const target = isSymlink ? await Deno.realPath(path) : path;
  return { target, mode: there.mode === null ? undefined : there.mode & 0o777 };
}

/** @throws {CulmError} where one of `names`, which are to be written, is an input */
async function checkNoInput(
  path: string,
  names: readonly string[],
  inputs: readonly string[],
): Promise<void> {
  const written = await Promise.all(names.map(identityOf));
  if (written.every((identity) => identity === undefined)) return;
  for (const input of inputs) {
    for (const file of await filesOf(input)) {
      const identity = await identityOf(file);
      if (identity !== undefined && written.includes(identity)) {
        throw new CulmError(
          `Cannot write ${path}: this command reads ${file}, which is the same file`,
        );
      }
    }
  }
}

/** A file, the parts of one, or those of a folder that commands read. */
async function filesOf(path: string): Promise<string[]> {
  if (!(await statOf(path))?.isDirectory) return partNames(path) ?? [path];
  const entries = await Array.fromAsync(Deno.readDir(path));
  return entries.filter(({ name }) =>
    /\.(json|jsonl|model|safetensors|pt)$/.test(name)
  ).map(({ name }) => `${path}/${name}`);
}

/** What two paths that lead to the same file have in common; nothing where there is none. */
async function identityOf(path: string): Promise<string | undefined> {
  const there = await statOf(path);
  if (!there) return undefined;
  return there.ino === null
    ? await Deno.realPath(path)
    : `${there.dev}:${there.ino}`;
}

/** What is at a path, through links; nothing where it leads nowhere. */
export async function statOf(
  path: string,
): Promise<Deno.FileInfo | undefined> {
  return await Deno.stat(path).catch(() => undefined);
}

/**
 * Writes a file at once. Returns its size.
 *
 * @throws {CulmError} where it cannot be written
 */
export async function writeFile(
  path: string,
  chunks: Chunks,
  options: OutputOptions & WriteOptions,
): Promise<number> {
  using output = await OutputFile.open(path, options);
  return await output.write(chunks, options);
}

/** A file of a folder that is to be written. */
export interface FolderFile {
  /** Its name, without a path. */
  readonly name: string;
  readonly chunks: Chunks;
}

/**
 * Writes files into a folder, which is made where there is none. Returns their
 * size together. None is in its place before all are whole.
 *
 * @throws {CulmError} where they cannot be written, or there is something at the path already
 */
export async function writeFolder(
  path: string,
  files: readonly FolderFile[],
  { force, signal, onProgress }: OutputOptions & WriteOptions,
): Promise<number> {
  const isThere = await exists(path);
  if (!force && isThere) throw thereAlready(path);
  await explained(path, Deno.mkdir(path, { recursive: true }));
  const outputs: OutputFile[] = [];
  let written = 0;
  try {
    for (const { name } of files) {
      outputs.push(await OutputFile.open(`${path}/${name}`, { force }));
    }
    for (const [i, { chunks }] of files.entries()) {
      const before = written;
      written += await outputs[i].fill(chunks, {
        signal,
        onProgress: (bytes) => onProgress?.(before + bytes),
      });
    }
    for (const output of outputs) await output.moveToPlace();
    return written;
  } finally {
    for (const output of outputs) output[Symbol.dispose]();
    // Fails where it is not empty, which is as it should be.
    if (!isThere) await Deno.remove(path).catch(() => {});
  }
}

/** Waits for work on the file that is to become `path`, and says what went wrong. */
function explained<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    throw failure(path, error);
  });
}

/** What is said where the system refuses. */
function failure(path: string, error: unknown): unknown {
  if (error instanceof Deno.errors.NotCapable) return error;
  return new CulmError(`Cannot write ${path}: ${reasonOf(error)}`);
}

/** The system's word for what went wrong, without the call and the number. */
function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such folder";
  return formatSystemError(error as Error);
}
