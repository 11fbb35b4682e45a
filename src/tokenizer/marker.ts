/** Markers in what a model writes, which is less exact about white space than its template. */
import type { Reading, TextInput } from "./text_input.ts";

/** In a marker: a word that differs from call to call, such as an id. */
export const ANY_WORD = "\uE000";

/** A marker's tags and words, between which white space may differ. */
export function chunksOf(marker: string): string[] {
  return marker.split(new RegExp(`(${ANY_WORD})|\\s+|(?<=[>\\]])`))
    .filter((chunk) => chunk !== undefined && chunk !== "");
}

/** Reads a marker, with white space before it; nothing where it is not there. */
export function* readMarker(
  input: TextInput,
  chunks: readonly string[],
): Reading<boolean> {
  const start = input.at;
  for (const [i, chunk] of chunks.entries()) {
    if (chunk === ANY_WORD) {
      const next = chunks[i + 1]?.[0] ?? " ";
      yield* input.until(classOf(`\\s<>`, next));
      continue;
    }
    yield* input.skipSpace();
    if (!(yield* input.literal(chunk))) {
      input.at = start;
      return false;
    }
  }
  return true;
}

/** Reads as much of a marker as is there: models leave the end of one out. */
export function* readSome(
  input: TextInput,
  chunks: readonly string[],
): Reading<void> {
  for (const chunk of chunks) {
    if (!(yield* readMarker(input, [chunk]))) return;
  }
}

/** A class of characters: what is written as one, and another character. */
export function classOf(written: string, character: string): RegExp {
  return new RegExp(`[${written}${character.replace(/[\\\]^-]/, "\\$&")}]`);
}
