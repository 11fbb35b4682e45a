/**
 * The name that somebody may have meant.
 *
 * @module
 */
// @ts-types="./std/closest_string.d.ts"
import { closestString } from "deno-std/text/closest_string.js";
// @ts-types="./std/levenshtein_distance.d.ts"
import { levenshteinDistance } from "deno-std/text/levenshtein_distance.js";

/**
 * `words`, the one of `names` that is nearest to what was given, and a question
 * mark. Nothing where more than half of it would have to change, and it is not
 * the only one: a name far away says less than none.
 */
export function nearestHint(
  words: string,
  given: string,
  names: readonly string[],
): string {
  if (names.length === 0) return "";
  const nearest = closestString(given, names);
  const [from, to] = [given, nearest].map((name) =>
    name.toLowerCase().replace(/^(--?|\/)/, "")
  );
  const changes = levenshteinDistance(from, to);
  const isFar = 2 * changes > Math.max(from.length, to.length);
  if (isFar && names.length > 1) return "";
  return `${words} ${nearest}?`;
}
