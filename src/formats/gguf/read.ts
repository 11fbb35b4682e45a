import type { ByteSource } from "../../bytes/byte_source.ts";
import { LimitError, UnsupportedError } from "../../errors.ts";
import {
  DEFAULT_ALIGNMENT,
  type GgufFile,
  type GgufMagic,
  isAlignment,
  type MetadataEntry,
} from "./gguf_file.ts";
import { asOne, type GgufPart } from "./parts.ts";
import { HeaderCursor, NeedsMoreBytes } from "./header_cursor.ts";
import { FEWEST_ENTRY_BYTES, readMetadata } from "./read_metadata.ts";
import {
  type DeclaredTensor,
  FEWEST_TENSOR_BYTES,
  placeTensors,
  readTensors,
} from "./read_tensors.ts";

export type {
  GgufFile,
  GgufMagic,
  MetadataArray,
  MetadataEntry,
  MetadataType,
  MetadataValue,
  MetadataValues,
  RowPiece,
  TensorInfo,
} from "./gguf_file.ts";
export {
  getArray,
  getBoolean,
  getNumber,
  getNumbers,
  getString,
  getStrings,
} from "./metadata.ts";

/** Bytes of the first read; enough for a header without a vocabulary. */
const FIRST_READ = 2 ** 18;

/** The largest header that is read; a vocabulary of 256k tokens takes about 12 MB. */
const LARGEST_HEADER = 2 ** 26;

/**
 * Reads and checks the header of a GGUF file (version 2 or 3), or of PowerInfer's
 * `PWRI`. It is read in chunks that double, so the weights stay unread but for
 * what shares the last chunk. Every count,
 * length and offset is checked against the file's size before memory is taken.
 * Of a file in parts, the headers of all are read, and are one.
 *
 * @throws {FormatError} where the file is cut, damaged or hostile.
 * @throws {UnsupportedError} for other versions, big-endian files, and tensor types that culm has no reader for.
 * @throws {LimitError} where the header passes 64 MiB or 4 million values, or arrays are nested more than 4 deep.
 */
export async function readGguf(source: ByteSource): Promise<GgufFile> {
  const { name, parts = [source] } = source;
  const read: GgufPart[] = [];
  let values = 0;
  for (const part of parts) {
    const { file, held } = await readHeader(part, values);
    read.push({ name: part.name, file });
    values = held;
  }
  return asOne(name, read);
}

/** Reads a header of which earlier files hold so many values. */
async function readHeader(
  source: ByteSource,
  values: number,
): Promise<{ file: GgufFile; held: number }> {
  let bytes = await source.read(0, Math.min(FIRST_READ, source.size));
  const cursor = new HeaderCursor(bytes, source.size, source.name, values);
  const parsed: ParsedHeader = { metadata: new Map(), declared: new Map() };
  while (true) {
    try {
      return { file: parseHeader(cursor, parsed), held: cursor.held };
    } catch (error) {
      if (!(error instanceof NeedsMoreBytes)) throw error;
      if (error.end > LARGEST_HEADER) {
        throw new LimitError(
          `Cannot read the header of ${source.name}: it takes at least ${error.end} bytes, the limit is ${LARGEST_HEADER}`,
        );
      }
      const length = Math.max(2 * bytes.length, error.end);
      bytes = await extend(bytes, Math.min(length, source.size), source);
      cursor.extend(bytes);
    }
  }
}

/** The first `length` bytes of the source, of which `bytes` are read already. */
async function extend(
  bytes: Uint8Array,
  length: number,
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>> {
  const extended = new Uint8Array(length);
  extended.set(bytes);
  extended.set(
    await source.read(bytes.length, length - bytes.length),
    bytes.length,
  );
  return extended;
}

/** What was read of a header, as far as its bytes went. */
interface ParsedHeader {
  start?: HeaderStart;
  readonly metadata: Map<string, MetadataEntry>;
  readonly declared: Map<string, DeclaredTensor>;
}

interface HeaderStart extends Pick<GgufFile, "magic" | "version"> {
  readonly tensorCount: number;
  readonly entryCount: number;
}

/** Reads what is not read yet, entry by entry. */
function parseHeader(cursor: HeaderCursor, parsed: ParsedHeader): GgufFile {
  const { metadata, declared } = parsed;
  const start = parsed.start ??= readStart(cursor);
  const { magic, version } = start;
  readMetadata(cursor, start.entryCount, metadata);
  const alignment = readAlignment(cursor, metadata);
  readTensors(cursor, start.tensorCount, declared);
  const tensors = placeTensors(cursor, declared, alignment);
  const size = cursor.fileSize;
  const file = { magic, version, alignment, metadata, tensors, size };
  const notes = [...cursor.notes];
  return notes.length > 0 ? { ...file, notes } : file;
}

function readStart(cursor: HeaderCursor): HeaderStart {
  const start = {
    magic: readMagic(cursor),
    version: readVersion(cursor),
    tensorCount: cursor.count("tensors", FEWEST_TENSOR_BYTES),
    entryCount: cursor.count("metadata entries", FEWEST_ENTRY_BYTES),
  };
  cursor.pass();
  return start;
}

function readMagic(cursor: HeaderCursor): GgufMagic {
  const start = cursor.skip(4);
  const magic = String.fromCharCode(...cursor.bytes.subarray(start, start + 4));
  if (magic !== "GGUF" && magic !== "PWRI") {
    const hex = [...cursor.bytes.subarray(start, start + 4)]
      .map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw cursor.error(
      `a GGUF file begins with GGUF or PWRI, this one with bytes ${hex}`,
    );
  }
  return magic;
}

function readVersion(cursor: HeaderCursor): 2 | 3 {
  const version = cursor.uint32();
  if (version === 2 || version === 3) return version;
  const isBigEndian = version !== 0 && (version & 0xffff) === 0;
  throw new UnsupportedError(
    `Cannot read ${cursor.fileName}: ` +
      (isBigEndian
        ? "it is a big-endian GGUF file, culm reads little-endian ones"
        : `it has GGUF version ${version}, culm reads 2 and 3`),
  );
}

function readAlignment(
  cursor: HeaderCursor,
  metadata: ReadonlyMap<string, MetadataEntry>,
): number {
  const entry = metadata.get("general.alignment");
  if (entry === undefined) return DEFAULT_ALIGNMENT;
  if (typeof entry.value !== "number" || !isAlignment(entry.value)) {
    cursor.about("metadata", "general.alignment");
    throw cursor.error(
      `must be a power of two up to 2147483648, the file has ${
        entry.type === "array" ? "an array" : String(entry.value)
      }`,
    );
  }
  return entry.value;
}
