/**
 * Reading the values of flags.
 *
 * @module
 */
import { type OptionSpec, UsageError } from "../mod.ts";
import { isObject, type JsonObject } from "../src/formats/json.ts";
import { checkValue } from "../src/options.ts";

/** The number that a text spells; the text itself where it spells none, which no check lets pass. */
export function numberOr(text: string): number | string {
  return /^\s*$|[^\s\d.eE+-]/.test(text) || Number.isNaN(Number(text))
    ? text
    : Number(text);
}

/** Reads numbers of one kind, with commas between. */
export function numbers(
  spec: Partial<OptionSpec>,
): (text: string, name: string) => number[] {
  return (text, name) =>
    text.split(",").map((part) =>
      checkValue(name, spec, numberOr(part)) as number
    );
}

/** Shares above 0, at most 1, with commas between. */
export const shares: (text: string, name: string) => number[] = numbers({
  exclusiveMinimum: 0,
  maximum: 1,
});

/** A text that is not empty. */
export function someText(text: string, name: string): string {
  if (text !== "") return text;
  throw new UsageError(`Cannot use ${name} "": it is a text that is not empty`);
}

/** A JSON object. */
export function jsonObject(text: string, name: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // It is no JSON.
  }
  if (isObject(value)) return value;
  throw new UsageError(
    `Cannot use ${name} ${JSON.stringify(text)}: it is a JSON object`,
  );
}

/** llama.cpp's bias, `15043+1` or `15043-inf`. */
export function logitBias(text: string, name: string): [number, number] {
  const match = text.match(
    /^(\d+)([+-])(inf|(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)$/i,
  );
  const amount = match?.[3].toLowerCase() === "inf"
    ? Infinity
    : Number(match?.[3]);
  if (!match || (match[2] === "+" && amount === Infinity)) {
    throw new UsageError(
      `Cannot use ${name} "${text}": it is a token id and a bias, such as 15043+1, 15043-0.5 or 15043-inf`,
    );
  }
  return [Number(match[1]), match[2] === "+" ? amount : -amount];
}

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  "'": "'",
  '"': '"',
  "\\": "\\",
};

/** Reads the escapes that llama.cpp reads in prompts: `\n \r \t \' \" \\ \xHH`, the last of which are bytes of UTF-8. */
export function unescape(text: string): string {
  return text.replace(
    /((?:\\x[0-9a-fA-F]{2})+)|\\([nrt'"\\])/g,
    (_, bytes?: string, letter = "") =>
      bytes ? utf8.decode(bytesOf(bytes)) : escapes[letter],
  );
}

/** The bytes of `\\xHH\\xHH`. */
function bytesOf(escaped: string): Uint8Array {
  const [, ...bytes] = escaped.split("\\x");
  return Uint8Array.from(bytes, (hex) => parseInt(hex, 16));
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
