/** Files that gguf-split made of one, as one again. */
import { FormatError } from "../../errors.ts";
import type { GgufFile, TensorInfo } from "./gguf_file.ts";
import { printable } from "./header_cursor.ts";
import { getNumber } from "./metadata.ts";

/** The keys by which a part says what it is a part of: its place from 0 up, how many there are, and their tensors. */
export const partKeys = {
  index: "split.no",
  count: "split.count",
  tensors: "split.tensors.count",
} as const;

/** One file of several. */
export interface GgufPart {
  /** What to call it in messages. */
  readonly name: string;
  /** What it says by itself. */
  readonly file: GgufFile;
}

/**
 * The file that parts are together, one's bytes after the other's: metadata are
 * the first one's, without what says that it is a part.
 *
 * @throws {FormatError} where they are not all of one file, in order
 */
export function asOne(name: string, parts: readonly GgufPart[]): GgufFile {
  parts.forEach((part, index) => checkPart(part, index, parts.length));
  const [{ file: first }] = parts;
  if (parts.length === 1 && !first.metadata.has(partKeys.count)) return first;
  const metadata = new Map(first.metadata);
  for (const key of Object.values(partKeys)) metadata.delete(key);
  const tensors = new Map<string, TensorInfo>();
  let size = 0;
  for (const { name, file } of parts) {
    for (const tensor of file.tensors.values()) {
      if (tensors.has(tensor.name)) {
        throw new FormatError(
          `Cannot read tensor ${
            printable(tensor.name)
          } of ${name}: an earlier part has one of the same name`,
        );
      }
      tensors.set(tensor.name, { ...tensor, offset: size + tensor.offset });
    }
    size += file.size;
  }
  const declared = getNumber(first, partKeys.tensors) ?? tensors.size;
  if (declared !== tensors.size) {
    throw new FormatError(
      `Cannot read ${name}: ${partKeys.tensors} says ${declared} tensors, the ${parts.length} files have ${tensors.size}`,
    );
  }
  return { ...first, metadata, tensors, size };
}

/** @throws {FormatError} where a file is not the part that its name says */
function checkPart({ name, file }: GgufPart, index: number, count: number) {
  const parts = getNumber(file, partKeys.count) ?? 1;
  if (parts > 1 && count === 1) {
    throw new FormatError(
      `Cannot read ${name}: it is one of ${parts} files, and the others are known by their names alone: they end in -00001-of-${
        `${parts}`.padStart(5, "0")
      }.gguf`,
    );
  }
  const place = getNumber(file, partKeys.index) ?? 0;
  if (count > 1 && (parts !== count || place !== index)) {
    throw new FormatError(
      `Cannot read ${name}: by its name it is part ${
        index + 1
      } of ${count}, by its metadata part ${place + 1} of ${parts}`,
    );
  }
}
