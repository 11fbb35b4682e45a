import { LimitError, UsageError } from "../errors.ts";
import { fileSystem } from "../platform/file_system.ts";
import type { ByteSource } from "./byte_source.ts";
import { openFile } from "./file.ts";

/** Files that belong together, as a model's checkpoint does, by name and wherever they are. */
export interface Folder {
  /** What to call it in messages. */
  readonly name: string;
  /** Names of its files, without a path. */
  readonly files: ReadonlySet<string>;
  /**
   * Opens one of its files. The caller closes it.
   *
   * @throws {UsageError} where there is no such file
   */
  open(file: string): Promise<ByteSource>;
}

/**
 * A local folder; folders within it are left out.
 *
 * @throws {UsageError} where there is none, or it cannot be read
 */
export async function openFolder(path: string): Promise<Folder> {
  const { readdir } = fileSystem(path);
  const entries = await readdir(path, { withFileTypes: true }).catch(
    (error) => {
      const isMissing = error.code === "ENOENT";
      throw new UsageError(
        `Cannot open ${path}: ${
          isMissing ? "there is no such folder" : error.message
        }`,
        { cause: error },
      );
    },
  );
  const files = new Set(
    entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name),
  );
  return { name: path, files, open: (file) => openFile(`${path}/${file}`) };
}

/** Whether a path leads to a folder; where there is nothing, it does not. */
export async function isFolder(path: string): Promise<boolean> {
  const { stat } = fileSystem(path);
  return await stat(path).then((status) => status.isDirectory(), () => false);
}

/**
 * A whole file of a folder.
 *
 * @throws {UsageError} where there is none
 * @throws {LimitError} where it has more than `most` bytes
 */
export async function readWhole(
  folder: Folder,
  file: string,
  most: number = 1 << 26,
): Promise<Uint8Array<ArrayBuffer>> {
  const source = await folder.open(file);
  try {
    if (source.size > most) {
      throw new LimitError(
        `Cannot read ${source.name}: it has ${source.size} bytes, the limit is ${most}`,
      );
    }
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}
