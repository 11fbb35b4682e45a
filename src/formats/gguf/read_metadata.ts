import { LimitError } from "../../errors.ts";
import {
  type MetadataArray,
  metadataBytes,
  type MetadataEntry,
  type MetadataType,
  metadataTypes,
  type MetadataValue,
} from "./gguf_file.ts";
import { type HeaderCursor, printable } from "./header_cursor.ts";

/** Arrays of arrays deeper than this are refused; llama.cpp refuses any. */
const DEEPEST_ARRAY = 4;

/** The fewest bytes of a key (empty), a type and a value. */
export const FEWEST_ENTRY_BYTES: number = 8 + 4 + 1;

/** Reads `count` keys with their values. */
export function readMetadata(
  cursor: HeaderCursor,
  count: number,
): Map<string, MetadataEntry> {
  const metadata = new Map<string, MetadataEntry>();
  for (let index = 0; index < count; index++) {
    cursor.subject = `metadata entry ${index}`;
    const key = cursor.string();
    cursor.subject = `metadata ${printable(key)}`;
    if (metadata.has(key)) {
      throw cursor.error(`entry ${index} has the same key as an earlier one`);
    }
    const type = readType(cursor);
    metadata.set(key, { type, value: readValue(cursor, type, 0) });
  }
  return metadata;
}

function readType(cursor: HeaderCursor): MetadataType {
  const id = cursor.uint32();
  const type = metadataTypes[id];
  if (type === undefined) {
    throw cursor.error(
      `its value has type ${id}, the format has 0 to ${
        metadataTypes.length - 1
      }`,
    );
  }
  return type;
}

function readValue(
  cursor: HeaderCursor,
  type: MetadataType,
  depth: number,
): MetadataValue {
  if (type === "array") return readArray(cursor, depth + 1);
  if (type === "string" || type === "bool") return cursor[type]();
  const number = cursor.number(type);
  return Number.isSafeInteger(Number(number)) ? Number(number) : number;
}

function readArray(cursor: HeaderCursor, depth: number): MetadataArray {
  if (depth > DEEPEST_ARRAY) {
    throw new LimitError(
      `Cannot read ${cursor.subject} of ${cursor.fileName}: arrays are nested ${depth} deep, the limit is ${DEEPEST_ARRAY}`,
    );
  }
  const elementType = readType(cursor);
  const count = cursor.count(
    `${elementType} values`,
    metadataBytes[elementType],
  );
  const values: MetadataValue[] = [];
  for (let index = 0; index < count; index++) {
    values.push(readValue(cursor, elementType, depth));
  }
  return { elementType, values };
}
