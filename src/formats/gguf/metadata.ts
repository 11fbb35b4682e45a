import { FormatError } from "../../errors.ts";
import type {
  GgufFile,
  MetadataArray,
  MetadataValue,
  MetadataValues,
} from "./gguf_file.ts";

/** Gives the value under `key`, or undefined where there is none; throws {@linkcode FormatError} where it is of another type. */
export type Getter<T> = (
  file: Pick<GgufFile, "metadata">,
  key: string,
) => T | undefined;

function getterOf<T extends MetadataValue>(
  expected: string,
  fits: (value: MetadataValue) => value is T,
): Getter<T> {
  return ({ metadata }, key) => {
    const entry = metadata.get(key);
    if (entry === undefined) return undefined;
    if (!fits(entry.value)) throw wrongType(key, expected, entry.type);
    return entry.value;
  };
}

function elementsGetterOf<Values extends MetadataValues>(
  expected: string,
  fit: (array: MetadataArray) => boolean,
): Getter<Values> {
  return (file, key) => {
    const array = getArray(file, key);
    if (!array || fit(array)) return array?.values as Values | undefined;
    const found = `an array of ${array.elementType}`;
    throw wrongType(key, `an array of ${expected}`, found);
  };
}

function wrongType(key: string, expected: string, found: string): FormatError {
  return new FormatError(
    `Cannot use metadata ${key}: expected ${expected}, the file has ${found}`,
  );
}

const getSafeNumber = getterOf(
  "a number",
  (value) => typeof value === "number",
);

/** A number; refuses integers that a number cannot hold exactly. */
export const getNumber: Getter<number> = (file, key) => {
  const value = file.metadata.get(key)?.value;
  if (typeof value !== "bigint") return getSafeNumber(file, key);
  throw new FormatError(
    `Cannot use metadata ${key}: ${value} is beyond ${Number.MAX_SAFE_INTEGER}`,
  );
};

/** A string. */
export const getString: Getter<string> = getterOf(
  "a string",
  (value) => typeof value === "string",
);

/** A boolean. */
export const getBoolean: Getter<boolean> = getterOf(
  "a boolean",
  (value) => typeof value === "boolean",
);

/** An array of any type. */
export const getArray: Getter<MetadataArray> = getterOf(
  "an array",
  (value) => typeof value === "object",
);

/** The strings of an array. */
export const getStrings: Getter<readonly string[]> = elementsGetterOf(
  "strings",
  ({ elementType }) => elementType === "string",
);

/** The numbers of an array; refuses integers as {@linkcode getNumber} does. */
export const getNumbers: Getter<MetadataValues<number>> = elementsGetterOf(
  "numbers",
  ({ values }) =>
    ArrayBuffer.isView(values) ||
    Array.from(values).every((value) => typeof value === "number"),
);
