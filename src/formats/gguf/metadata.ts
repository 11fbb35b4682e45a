import { FormatError } from "../../errors.ts";
import type { GgufFile, MetadataArray, MetadataType } from "./gguf_file.ts";

/** The part of a file that the accessors need. */
export type HasMetadata = Pick<GgufFile, "metadata">;

/**
 * The number under `key`, or undefined where there is none.
 *
 * @throws {FormatError} where it is no number, or an integer that a number cannot hold exactly.
 */
export function getNumber(file: HasMetadata, key: string): number | undefined {
  const entry = file.metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value === "bigint") {
    throw new FormatError(
      `Cannot use metadata ${key}: ${entry.value} is beyond ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  if (typeof entry.value !== "number") throw wrongType(key, "a number", entry);
  return entry.value;
}

/**
 * The string under `key`, or undefined where there is none.
 *
 * @throws {FormatError} where it is no string.
 */
export function getString(file: HasMetadata, key: string): string | undefined {
  const entry = file.metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value !== "string") throw wrongType(key, "a string", entry);
  return entry.value;
}

/**
 * The boolean under `key`, or undefined where there is none.
 *
 * @throws {FormatError} where it is no boolean.
 */
export function getBoolean(
  file: HasMetadata,
  key: string,
): boolean | undefined {
  const entry = file.metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value !== "boolean") {
    throw wrongType(key, "a boolean", entry);
  }
  return entry.value;
}

/**
 * The array under `key`, or undefined where there is none.
 *
 * @throws {FormatError} where it is no array.
 */
export function getArray(
  file: HasMetadata,
  key: string,
): MetadataArray | undefined {
  const entry = file.metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value !== "object") throw wrongType(key, "an array", entry);
  return entry.value;
}

/**
 * The strings of the array under `key`, or undefined where there is none.
 *
 * @throws {FormatError} where it is no array of strings.
 */
export function getStrings(
  file: HasMetadata,
  key: string,
): readonly string[] | undefined {
  const array = getArray(file, key);
  if (array === undefined) return undefined;
  if (array.elementType !== "string") {
    throw wrongElements(key, "strings", array);
  }
  return array.values as readonly string[];
}

/**
 * The numbers of the array under `key`, or undefined where there is none.
 *
 * @throws {FormatError} where it is no array of numbers, or one is an integer that a number cannot hold exactly.
 */
export function getNumbers(
  file: HasMetadata,
  key: string,
): readonly number[] | undefined {
  const array = getArray(file, key);
  if (array === undefined) return undefined;
  if (!array.values.every((value) => typeof value === "number")) {
    throw wrongElements(key, "numbers", array);
  }
  return array.values as readonly number[];
}

function wrongType(
  key: string,
  expected: string,
  entry: { readonly type: MetadataType },
): FormatError {
  return new FormatError(
    `Cannot use metadata ${key}: expected ${expected}, the file has ${entry.type}`,
  );
}

function wrongElements(
  key: string,
  expected: string,
  array: MetadataArray,
): FormatError {
  return new FormatError(
    `Cannot use metadata ${key}: expected an array of ${expected}, the file has an array of ${array.elementType}`,
  );
}
