/** A local file that is written whole, or not at all. */
import type { FileHandle } from "node:fs/promises";
import { CulmError } from "../errors.ts";
import { fileSystem } from "../platform/file_system.ts";

/**
 * Writes a file: to `PATH.part`, which is moved to its place when it is whole.
 * `isOwn` says by a file's first bytes whether it may be replaced.
 *
 * @throws {CulmError} where it cannot be written, another is there, or another is writing it
 * @throws what `chunks` throw
 */
export async function writeFile(
  path: string | URL,
  chunks: AsyncIterable<Uint8Array>,
  isOwn: (start: Uint8Array) => boolean,
): Promise<void> {
  const { open, rename, rm } = fileSystem(String(path));
  const part = partOf(path);
  const explained = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error) => {
      throw failure(path, error.message, error);
    });
  await checkReplaceable(path, isOwn);
  const handle = await open(part, "wx").catch((error) => {
    throw failure(
      path,
      error.code === "EEXIST"
        ? `${part} is there already: another is writing it, or was killed and left it behind`
        : error.message,
      error,
    );
  });
  try {
    try {
      for await (const chunk of chunks) {
        await explained(writeAll(handle, chunk));
      }
    } finally {
      await handle.close();
    }
    await checkReplaceable(path, isOwn);
    await explained(rename(part, path));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Writes all of a chunk: at `start`, or where the last one has ended. */
export async function writeAll(
  handle: FileHandle,
  chunk: Uint8Array,
  start?: number,
): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    const at = start === undefined ? null : start + done;
    const { bytesWritten } = await handle
      .write(chunk, done, chunk.length - done, at);
    done += bytesWritten;
  }
}

/** @throws {CulmError} where something else is there */
async function checkReplaceable(
  path: string | URL,
  isOwn: (start: Uint8Array) => boolean,
): Promise<void> {
  const { lstat, open } = fileSystem(String(path));
  const there = await lstat(path).catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw failure(path, error.message, error);
  });
  if (!there) return;
  if (there.isFile()) {
    const handle = await open(path, "r").catch((error) => {
      throw failure(path, error.message, error);
    });
    try {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(64), 0);
      if (isOwn(buffer.subarray(0, bytesRead))) return;
    } finally {
      await handle.close();
    }
  }
  throw failure(path, "there is something else already");
}

function partOf(path: string | URL): string | URL {
  return typeof path === "string"
    ? `${path}.part`
    : new URL(`${path.href}.part`);
}

function failure(
  path: string | URL,
  why: string,
  cause?: unknown,
): CulmError {
  return new CulmError(`Cannot write ${path}: ${why}`, { cause });
}
