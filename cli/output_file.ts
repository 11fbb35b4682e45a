/**
 * Files that commands write.
 *
 * @module
 */
import { CulmError } from "../mod.ts";
import { note, printable } from "./terminal.ts";

/** How a file is written. */
export interface OutputOptions {
  /** Replaces a file that is there. */
  readonly force?: boolean;
  /** Gives up, and leaves nothing behind. */
  readonly signal?: AbortSignal;
  /** Told how many bytes are written. */
  readonly onProgress?: (written: number) => void;
}

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

/**
 * Checks that a file can be written, before long work whose result goes there.
 *
 * @throws {CulmError} where it cannot be written, or is there already
 */
export async function checkOutput(
  path: string,
  { force }: Pick<OutputOptions, "force">,
): Promise<void> {
  if (!force && await exists(path)) throw thereAlready(path);
  const part = `${path}.part`;
  const isThere = await exists(part);
  const options = { write: true, create: true };
  (await explained(path, Deno.open(part, options))).close();
  // What is there may be work that goes on.
  if (!isThere) await Deno.remove(part);
}

/**
 * Writes a file as `PATH.part`, and moves it to its place when it is whole.
 * Returns its size.
 *
 * @throws {CulmError} where it cannot be written, or is there already
 */
export async function writeFile(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { force, signal, onProgress }: OutputOptions,
): Promise<number> {
  if (!force && await exists(path)) throw thereAlready(path);
  const part = `${path}.part`;
  const options = { write: true, create: true, truncate: true };
  let written = 0;
  try {
    {
      using file = await explained(path, Deno.open(part, options));
      for await (const chunk of chunks) {
        signal?.throwIfAborted();
        await writeAll(path, file, chunk);
        written += chunk.length;
        onProgress?.(written);
      }
    }
    await explained(path, Deno.rename(part, path));
    return written;
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw error;
  }
}

/**
 * Writes a file of text, and says so.
 *
 * @throws {CulmError} where it cannot be written, or is there already
 */
export async function writeText(
  path: string,
  text: string,
  options: OutputOptions,
): Promise<void> {
  await writeFile(path, [new TextEncoder().encode(text)], options);
  note(`wrote ${printable(path)}`);
}

/** A file of a folder that is to be written. */
export interface FolderFile {
  /** Its name, without a path. */
  readonly name: string;
  /** First byte to last. */
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * Writes files into a folder, which is made where there is none. Returns their
 * size together. Where one fails, those before it are removed as well.
 *
 * @throws {CulmError} where they cannot be written, or there is something at the path already
 */
export async function writeFolder(
  path: string,
  files: readonly FolderFile[],
  { force, signal, onProgress }: OutputOptions,
): Promise<number> {
  const isThere = await exists(path);
  if (!force && isThere) throw thereAlready(path);
  await explained(path, Deno.mkdir(path, { recursive: true }));
  const done: string[] = [];
  let written = 0;
  try {
    for (const { name, chunks } of files) {
      const file = `${path}/${name}`;
      const before = written;
      written += await writeFile(file, chunks, {
        force: true,
        signal,
        onProgress: (bytes) => onProgress?.(before + bytes),
      });
      done.push(file);
    }
    return written;
  } catch (error) {
    for (const file of done) await Deno.remove(file).catch(() => {});
    if (!isThere) await Deno.remove(path).catch(() => {});
    throw error;
  }
}

/** Writes a chunk to the file that is to become `path`. */
export async function writeAll(
  path: string,
  file: Deno.FsFile,
  chunk: Uint8Array,
): Promise<void> {
  for (let rest = chunk; rest.length > 0;) {
    rest = rest.subarray(await explained(path, file.write(rest)));
  }
}

/** Waits for work on the file that is to become `path`, and says what went wrong. */
export function explained<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CulmError(`Cannot write ${path}: ${reasonOf(error)}`);
  });
}

/** The system's word for what went wrong, without the call and the number. */
function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such folder";
  return (error as Error).message.replace(/ \(os error \d+\).*$/, "");
}
