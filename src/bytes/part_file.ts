/** Files that are fetched: always a beginning of what they are to be. */
import { CulmError } from "../errors.ts";
import { fileSystem } from "../platform/file_system.ts";
import { writeAll } from "./write_file.ts";

export interface PartFile {
  size(): Promise<number>;
  truncate(size: number): Promise<void>;
  /** Reads what lies at a position, as far as there is any; gives how many bytes. */
  read(into: Uint8Array<ArrayBuffer>, position: number): Promise<number>;
  /** @throws {CulmError} where that fails: there is no room for it, for one */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Has what was written outlast a power cut. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Opens a file of the system, which is made where there is none. */
export async function openPart(path: string): Promise<PartFile> {
  const { constants, open } = fileSystem(path);
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT);
  return {
    size: async () => (await handle.stat()).size,
    truncate: (size) => handle.truncate(size),
    read: async (into, position) =>
      (await handle.read(into, 0, into.length, position)).bytesRead,
    write: async (bytes, position) => {
      await writeAll(handle, bytes, position).catch((error) => {
        throw failure(path, error);
      });
    },
    flush: () => handle.datasync(),
    close: () => handle.close(),
  };
}

function failure(
  path: string,
  error: { readonly code?: string; readonly message: string },
): CulmError {
  const why = error.code === "ENOSPC" ? "the disk is full" : error.message;
  return new CulmError(`Cannot write ${path}: ${why}`, { cause: error });
}
