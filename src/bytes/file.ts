import type { FileHandle } from "node:fs/promises";
import { FormatError, UsageError } from "../errors.ts";
import { fileSystem } from "../platform/file_system.ts";
import { bufferFor, type ByteSource, checkRange } from "./byte_source.ts";

/** One system call reads less than 2 GiB on most systems. */
const LARGEST_READ = 2 ** 30;

/**
 * Opens a local file. Reads are by position, so they may overlap in time.
 *
 * @throws {UsageError} where the path is missing, a directory, or not permitted.
 * @throws {FormatError} where the file is empty.
 */
export async function openFile(path: string | URL): Promise<ByteSource> {
  const name = nameOf(path);
  const { open, stat } = fileSystem(name);
  const status = await stat(path).catch((error) => {
    throw unusable("open", name, error);
  });
  if (status.isDirectory()) {
    throw new UsageError(`Cannot open ${name}: it is a directory`);
  }
  // Opening a pipe would wait for its other end.
  if (!status.isFile()) {
    throw new UsageError(`Cannot open ${name}: it is not a regular file`);
  }
  if (status.size === 0) {
    throw new FormatError(`Cannot read ${name}: the file is empty`);
  }
  const handle = await open(path, "r").catch((error) => {
    throw unusable("open", name, error);
  });
  const source = { name, size: status.size };
  const at = typeof path === "string" ? path : path.href;
  return {
    ...source,
    localFiles: [{ path: at, size: status.size, mtimeMs: status.mtimeMs }],
    read: async (offset, length, spare) => {
      checkRange(source, offset, length);
      const bytes = bufferFor(length, spare);
      await fill(bytes, offset, handle, name);
      return bytes;
    },
    close: () => handle.close(),
  };
}

async function fill(
  bytes: Uint8Array,
  position: number,
  reader: FileHandle,
  name: string,
): Promise<void> {
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await reader
      .read(
        bytes,
        filled,
        Math.min(LARGEST_READ, bytes.length - filled),
        position + filled,
      )
      .catch((error) => {
        throw unusable("read", name, error);
      });
    if (bytesRead === 0) {
      throw new FormatError(
        `Cannot read ${name}: needs bytes ${position}..${
          position + bytes.length
        }, the file ended at ${position + filled} while it was read`,
      );
    }
    filled += bytesRead;
  }
}

function nameOf(path: string | URL): string {
  if (typeof path === "string") return path;
  if (path.protocol !== "file:") {
    throw new UsageError(
      `Cannot open ${path}: only file: URLs are local files`,
    );
  }
  try {
    return decodeURIComponent(path.pathname);
  } catch {
    throw new UsageError(
      `Cannot open ${path}: its percent signs do not encode UTF-8`,
    );
  }
}

function unusable(verb: string, name: string, cause: unknown): UsageError {
  const message = `Cannot ${verb} ${name}: ${reasonOf(cause)}`;
  return new UsageError(message, { cause });
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "a part of its path is not a directory",
  EISDIR: "it is a directory",
  EACCES: "the system does not permit reading it",
  EPERM: "the system does not permit reading it",
  EMFILE: "too many files are open",
  ELOOP: "its symbolic links lead in a circle",
  EBADF: "it was closed",
};

/** Node gives errors a code; a sandbox's refusal carries a message of its own. */
function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return (code !== undefined ? reasons[code] : undefined) ?? message ??
    String(error);
}
