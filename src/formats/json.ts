import { type Folder, readWhole } from "../bytes/folder.ts";
import { FormatError } from "../errors.ts";

/** A JSON object that others wrote: its values may be anything. */
export type JsonObject = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The object in a file. `name` is the file's, for messages.
 *
 * @throws {FormatError} where it is no UTF-8, no JSON, or no object
 */
export function parseObject(bytes: Uint8Array, name: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
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

/**
 * The object in a file of a folder; `undefined` where there is no such file.
 *
 * @throws {FormatError} as {@linkcode parseObject} does
 * @throws {LimitError} where the file has more than 64 MiB
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
