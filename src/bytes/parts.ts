/** Files that are parts of one, as gguf-split names them: `model-00001-of-00003.gguf`. */
import { CulmError, errorOfName, LimitError } from "../errors.ts";
import {
  bufferFor,
  type ByteSource,
  checkRange,
  localFilesOf,
} from "./byte_source.ts";

/** The most parts of a file: the largest models there are come in about 200. */
const MOST_PARTS = 1000;

/**
 * The names of all parts of a file, first to last, where a path or URL is the
 * name of one.
 *
 * @throws {LimitError} where there are more than 1000
 */
export function partNames(name: string): string[] | undefined {
  const [, prefix, index, count, rest] =
    name.match(/^(.*)-(\d{5})-of-(\d{5})(\.gguf(?:[?#].*)?)$/si) ?? [];
  const parts = Number(count);
  if (prefix === undefined || Number(index) < 1 || Number(index) > parts) {
    return undefined;
  }
  if (parts > MOST_PARTS) {
    throw new LimitError(
      `Cannot read ${name}: it is one of ${parts} files, the limit is ${MOST_PARTS}`,
    );
  }
  return namesOfParts(prefix, parts, rest);
}

/** The names that gguf-split gives the parts of a file. */
export function namesOfParts(
  prefix: string,
  count: number,
  ending = ".gguf",
): string[] {
  const digits = (number: number) => `${number}`.padStart(5, "0");
  return Array.from(
    { length: count },
    (_, i) => `${prefix}-${digits(i + 1)}-of-${digits(count)}${ending}`,
  );
}

/**
 * Opens what a path or URL names; where that is one part of a file, all of them,
 * to be read as one. The caller closes it.
 *
 * @throws {CulmError} where one cannot be opened
 */
export async function openWhole(
  name: string,
  open: (name: string) => Promise<ByteSource>,
): Promise<ByteSource> {
  const names = partNames(name) ?? [name];
  if (names.length === 1) return await open(name);
  const parts: ByteSource[] = [];
  try {
    for (const each of names) parts.push(await open(each));
  } catch (error) {
    await closeAll(parts);
    const isOther = names[parts.length] !== name;
    if (!(error instanceof CulmError) || !isOther) throw error;
    throw errorOfName(
      error.name,
      `Cannot read ${name}: it is one of ${names.length} files, and not all are there: ${error.message}`,
    );
  }
  return inOrder(name, parts);
}

/** The bytes of all parts, one part after another. */
function inOrder(name: string, parts: readonly ByteSource[]): ByteSource {
  const starts: number[] = [];
  let size = 0;
  for (const part of parts) {
    starts.push(size);
    size += part.size;
  }
  return {
    name,
    size,
    parts,
    localFiles: localFilesOf(parts),
    isRemote: parts.some(({ isRemote }) => isRemote),
    async read(offset, length, spare) {
      checkRange({ name, size }, offset, length);
      const end = offset + length;
      const first = Math.max(0, starts.findLastIndex((at) => at <= offset));
      if (end <= starts[first] + parts[first].size) {
        return await parts[first].read(offset - starts[first], length, spare);
      }
      const bytes = bufferFor(length, spare);
      for (let i = first; i < parts.length && starts[i] < end; i++) {
        const from = Math.max(offset, starts[i]);
        const to = Math.min(end, starts[i] + parts[i].size);
        const piece = await parts[i].read(from - starts[i], to - from);
        bytes.set(piece, from - offset);
      }
      return bytes;
    },
    close: () => closeAll(parts),
  };
}

async function closeAll(sources: readonly ByteSource[]): Promise<void> {
  await Promise.all(sources.map((source) => source.close()));
}
