/**
 * Reading the values of flags. Each reader throws {@linkcode UsageError} that
 * says what the flag needs.
 *
 * @module
 */
import { UsageError } from "../mod.ts";

/** Reads one value; `previous` is what the same flag gave before. */
export type ReadValue = (text: string, previous: unknown) => unknown;

/** A whole number from `least` up. */
export function wholeNumber(least: number): ReadValue {
  return (text) => {
    const value = Number(text);
    if (
      /^[+-]?\d+$/.test(text) && Number.isSafeInteger(value) && value >= least
    ) return value;
    throw new UsageError(`It needs a whole number from ${least} up.`);
  };
}

/** A number from `low` to `high`. */
export function numberBetween(low: number, high: number): ReadValue {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high) return value;
    const range = [
      low > -Infinity ? `from ${low}` : "",
      high < Infinity
        ? `${low > -Infinity ? "to" : "up to"} ${high}`
        : low > -Infinity
        ? "up"
        : "",
    ].join(" ").trim();
    throw new UsageError(`It needs a number ${range}`.trimEnd() + ".");
  };
}

/** Shares above 0, at most 1, with commas between. */
export const shares: ReadValue = (text) =>
  text.split(",").map((part) => {
    const value = Number(part);
    if (part.trim() !== "" && value > 0 && value <= 1) return value;
    throw new UsageError(
      "It needs shares above 0, at most 1, with commas between.",
    );
  });

/** One of some words. */
export function oneOf(...words: string[]): ReadValue {
  return (text) => {
    if (words.includes(text)) return text;
    throw new UsageError(`It needs one of ${words.join(", ")}.`);
  };
}

/** Whole numbers from `least` up, with commas between. */
export function wholeNumbers(least: number): ReadValue {
  const read = wholeNumber(least);
  return (text) => text.split(",").map((part) => read(part, undefined));
}

/** Texts of a flag that may be given several times; escapes such as `\n` are read. */
export const texts: ReadValue = (text, previous = []) => {
  if (text === "") throw new UsageError("It needs a text that is not empty.");
  return [...previous as string[], unescape(text)];
};

/** Names of files of a flag that may be given several times. */
export const paths: ReadValue = (
  text,
  previous = [],
) => [...previous as string[], text];

/** llama.cpp's biases, `15043+1` or `15043-inf`, of a flag that may be given several times. */
export const logitBiases: ReadValue = (text, previous = []) => {
  const match = text.match(/^(\d+)([+-])(inf|\d+(?:\.\d*)?|\.\d+)$/i);
  const amount = match?.[3].toLowerCase() === "inf"
    ? Infinity
    : Number(match?.[3]);
  if (!match || (match[2] === "+" && amount === Infinity)) {
    throw new UsageError(
      "It needs a token id and a bias, such as 15043+1, 15043-0.5 or 15043-inf.",
    );
  }
  const bias = match[2] === "+" ? amount : -amount;
  return [...previous as [number, number][], [Number(match[1]), bias]];
};

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  "'": "'",
  '"': '"',
  "\\": "\\",
};

/** Reads the escapes that llama.cpp reads in prompts: `\n \r \t \' \" \\ \xHH`. */
export function unescape(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-fA-F]{2})|([nrt'"\\]))/g,
    (_, hex, letter) =>
      hex ? String.fromCharCode(parseInt(hex, 16)) : escapes[letter],
  );
}
