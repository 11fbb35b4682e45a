import { LimitError } from "../../errors.ts";
import {
  type MetadataArray,
  metadataBytes,
  type MetadataEntry,
  type MetadataType,
  metadataTypes,
  type MetadataValue,
} from "./gguf_file.ts";
import {
  ENTRY_VALUES,
  type HeaderCursor,
  isNumberType,
} from "./header_cursor.ts";

/** Arrays of arrays deeper than this are refused; llama.cpp refuses any. */
const DEEPEST_ARRAY = 4;

/** The fewest bytes of a key (empty), a type and a value. */
export const FEWEST_ENTRY_BYTES: number = 8 + 4 + 1;

/** Reads keys with their values, until `metadata` has `count`. */
export function readMetadata(
  cursor: HeaderCursor,
  count: number,
  metadata: Map<string, MetadataEntry>,
): void {
  for (let index = metadata.size; index < count; index++) {
    cursor.about(`metadata entry ${index}`);
    cursor.hold(ENTRY_VALUES);
    const key = cursor.name();
    cursor.about("metadata", key);
    if (metadata.has(key)) {
      throw cursor.error(`entry ${index} has the same key as an earlier one`);
    }
    const type = readType(cursor);
    metadata.set(key, { type, value: readValue(cursor, type, 0) });
    cursor.pass();
  }
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
      `Cannot read ${cursor.described} of ${cursor.fileName}: arrays are nested ${depth} deep, the limit is ${DEEPEST_ARRAY}`,
    );
  }
  const elementType = readType(cursor);
  const count = cursor.count(
    `${elementType} values`,
    metadataBytes[elementType],
  );
  if (isNumberType(elementType)) {
    return { elementType, values: cursor.numbers(elementType, count) };
  }
  cursor.hold(count * (elementType === "array" ? ENTRY_VALUES : 1));
  const values: MetadataValue[] = [];
  for (let index = 0; index < count; index++) {
    values.push(readValue(cursor, elementType, depth));
  }
  return { elementType, values };
}
