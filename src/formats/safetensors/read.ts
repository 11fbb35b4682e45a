/**
 * Reads the header of safetensors files: eight bytes with its length, JSON that
 * names each tensor's type, shape and place, and then the tensors.
 */
import { type ByteSource, viewOf } from "../../bytes/byte_source.ts";
import { FormatError, LimitError } from "../../errors.ts";
import { printable } from "../gguf/header_cursor.ts";
import { isObject, isWholes, parseObject } from "../json.ts";

/** How elements are stored, by the names of the format. */
export type SafetensorsDtype =
  | "BOOL"
  | "U8"
  | "I8"
  | "F8_E4M3"
  | "F8_E5M2"
  | "U16"
  | "I16"
  | "F16"
  | "BF16"
  | "U32"
  | "I32"
  | "F32"
  | "U64"
  | "I64"
  | "F64";

/** Bytes of an element of each type. */
const dtypeBytes: Readonly<Record<SafetensorsDtype, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** Where a tensor lies in its file. */
export interface SafetensorsTensor {
  /** Its name, for instance `model.layers.3.mlp.up_proj.weight`. */
  readonly name: string;
  /** How its elements are stored. */
  readonly dtype: SafetensorsDtype;
  /** Its sizes, slowest first. */
  readonly shape: readonly number[];
  /** Offset of its first byte in the file. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly byteLength: number;
}

/** The format's own limit, in bytes. */
const largestHeader = 100_000_000;

/** The header's length comes first. */
const lengthBytes = 8;

/** PyTorch's limit. */
const mostDimensions = 64;

/**
 * The tensors of a file by name. Every length and place is checked against the
 * file's size; tensors must follow one another without a gap to its end.
 *
 * @throws {FormatError} where the file is cut, damaged or hostile
 * @throws {LimitError} where the header passes 100 MB
 */
export async function readSafetensors(
  source: ByteSource,
): Promise<Map<string, SafetensorsTensor>> {
  const header = await readHeader(source);
  const dataStart = lengthBytes + header.length;
  const tensors = new Map<string, SafetensorsTensor>();
  const entries = Object.entries(parseObject(header, source.name));
  for (const [name, entry] of entries) {
    if (name === "__metadata__") continue;
    tensors.set(name, readEntry(source, name, entry, dataStart));
  }
  checkPlaces(source, tensors, dataStart);
  return tensors;
}

async function readHeader(
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>> {
  const rest = source.size - lengthBytes;
  if (rest < 0) {
    throw new FormatError(
      `Cannot read ${source.name}: a safetensors file begins with ${lengthBytes} bytes of length, this one has ${source.size}`,
    );
  }
  const head = await source.read(0, lengthBytes);
  const length = viewOf(head).getBigUint64(0, true);
  if (length > BigInt(rest)) {
    throw new FormatError(
      `Cannot read ${source.name}: its header takes ${length} bytes, the file has ${rest} after the length`,
    );
  }
  if (length > largestHeader) {
    throw new LimitError(
      `Cannot read ${source.name}: its header takes ${length} bytes, the limit is ${largestHeader}`,
    );
  }
  return await source.read(lengthBytes, Number(length));
}

function readEntry(
  source: ByteSource,
  name: string,
  entry: unknown,
  dataStart: number,
): SafetensorsTensor {
  const damaged = (what: string) => damagedTensor(source, name, what);
  if (!isObject(entry)) throw damaged("its entry is no object");
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(dtypeBytes, dtype)) {
    throw damaged(
      `its type is ${printable(String(dtype))}, the format has ${
        Object.keys(dtypeBytes).join(", ")
      }`,
    );
  }
  if (!isWholes(shape) || shape.length > mostDimensions) {
    throw damaged(`its shape is not 0 to ${mostDimensions} whole numbers`);
  }
  if (!isWholes(offsets) || offsets.length !== 2) {
    throw damaged("its data_offsets are not two whole numbers");
  }
  const [start, end] = offsets;
  // Exact, for sides of a damaged file may multiply beyond what a number holds.
  const expected = shape.reduce(
    (product, side) => product * BigInt(side),
    BigInt(dtypeBytes[dtype as SafetensorsDtype]),
  );
  if (BigInt(end) - BigInt(start) !== expected) {
    throw damaged(
      `its shape [${
        shape.join(", ")
      }] of ${dtype} takes ${expected} bytes, it has ${start}..${end}`,
    );
  }
  return {
    name,
    dtype: dtype as SafetensorsDtype,
    shape,
    offset: dataStart + start,
    byteLength: end - start,
  };
}

function checkPlaces(
  source: ByteSource,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  dataStart: number,
): void {
  let end = dataStart;
  const inOrder = [...tensors.values()].sort((a, b) =>
    a.offset - b.offset || a.byteLength - b.byteLength
  );
  for (const { name, offset, byteLength } of inOrder) {
    if (offset !== end) {
      throw damagedTensor(
        source,
        name,
        `it begins at byte ${offset}, where the one before it ends at ${end}`,
      );
    }
    end = offset + byteLength;
  }
  if (end !== source.size) {
    throw new FormatError(
      `Cannot read ${source.name}: its tensors end at byte ${end}, the file has ${source.size}`,
    );
  }
}

/** What is thrown where a tensor of a file or a folder is not as it should be. */
export function damagedTensor(
  source: { readonly name: string },
  name: string,
  what: string,
): FormatError {
  return new FormatError(
    `Cannot read tensor ${printable(name)} of ${source.name}: ${what}`,
  );
}
