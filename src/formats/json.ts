import { type Folder, readWhole } from "../bytes/folder.ts";
import { FormatError, LimitError } from "../errors.ts";

/** A JSON object that others wrote: its values may be anything. */
export type JsonObject = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The most values of an object; a tokenizer of 256k tokens has two million. */
const mostValues = 2 ** 22;

/**
 * The object in a file. `name` is the file's, for messages.
 *
 * @throws {FormatError} where it is no UTF-8, no JSON, or no object
 * @throws {LimitError} where it has more than 4 million values
 */
export function parseObject(bytes: Uint8Array, name: string): JsonObject {
  const { values } = extentOf(bytes);
  if (values > mostValues) {
    throw new LimitError(
      `Cannot read ${name}: it has ${values} values, the limit is ${mostValues}`,
    );
  }
  let value: unknown;
  try {
    value = parse(utf8.decode(bytes));
  } catch (error) {
    throw new FormatError(
      `Cannot read ${name}: ${
        error instanceof SyntaxError
          ? `it is no JSON (${error.message})`
          : "it is not UTF-8"
      }`,
    );
  }
  if (!isObject(value)) {
    throw new FormatError(`Cannot read ${name}: it is no JSON object`);
  }
  return value;
}

/** JSON as Python writes it: with numbers that are none, which are null here. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const strict = text.replace(
      /"(?:[^"\\]|\\[^])*"|-?Infinity|NaN/g,
      (found) => found[0] === '"' ? found : "null",
    );
    if (strict === text) throw error;
    return JSON.parse(strict);
  }
}

/** How large some JSON is. */
export interface JsonExtent {
  /** Values in lists and objects */
  readonly values: number;
  /** Lists and objects */
  readonly groups: number;
  /** How many of these are in one another */
  readonly levels: number;
}

/** How large JSON is, without parsing it. */
export function extentOf(bytes: Uint8Array): JsonExtent {
  let values = 0, groups = 0, level = 0, levels = 0, isText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (isText) {
      if (byte === 0x5c) i++; // \ and what it stands before
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) isText = true; // "
    else if (byte === 0x2c) values++; // ,
    else if (byte === 0x5b || byte === 0x7b) { // [ {
      values++;
      groups++;
      levels = Math.max(levels, ++level);
    } else if (byte === 0x5d || byte === 0x7d) level--; // ] }
  }
  return { values, groups, levels };
}

/**
 * The object in a file of a folder; `undefined` where there is no such file.
 *
 * @throws {FormatError} as {@linkcode parseObject} does
 * @throws {LimitError} where the file has more than 64 MiB, or too many values
 */
export async function readObject(
  folder: Folder,
  file: string,
): Promise<JsonObject | undefined> {
  if (!folder.files.has(file)) return undefined;
  return parseObject(await readWhole(folder, file), `${folder.name}/${file}`);
}

/** Whether a value is a list of whole numbers, none below 0. */
export function isWholes(value: unknown): value is number[] {
  return Array.isArray(value) &&
    value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

/** Whether a value is an object with keys; arrays are not. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
