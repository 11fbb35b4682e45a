/** Fields that the bodies of requests have in common; each may be absent, or null. */
import * as v from "valibot";
import { LimitError } from "../errors.ts";
import { isObject, type JsonObject } from "../formats/json.ts";

/** True or false. */
export const flag = v.nullish(v.boolean("true or false"));

/** A text. */
export const text = v.nullish(v.string("a text"));

/** An object; `what` it is, in words. What is not named of it is left out. */
export function object<Entries extends v.ObjectEntries>(
  entries: Entries,
  what: string,
) {
  return v.pipe(noList(what), v.object(entries, what));
}

/** The same with what is not named. */
export function openObject<Entries extends v.ObjectEntries>(
  entries: Entries,
  what: string,
) {
  return v.pipe(noList(what), v.looseObject(entries, what));
}

/** An object, whatever is in it. */
export const anyObject = v.custom<JsonObject>(isObject, "an object");

/** valibot takes lists for objects. */
function noList(what: string) {
  // deno-lint-ignore no-explicit-any -- what is in it is checked behind this
  return v.custom<any>(isObject, what);
}

/** A whole number. */
export function wholeNumber(least: number, most: number) {
  const what = `a whole number from ${least} to ${most}`;
  return v.nullish(
    v.pipe(
      v.number(what),
      v.integer(what),
      v.minValue(least, what),
      v.maxValue(most, what),
    ),
  );
}

/** Texts that end an answer. */
export const stopField = v.nullish(
  v.union([v.string(), v.array(v.string())], "a text or a list of texts"),
);

/** Most texts that end an answer, and most characters of all together: each token is compared with them. */
const mostStops = 256, mostCharacters = 2 ** 16;

/**
 * The texts that end an answer; empty ones end none.
 *
 * @throws {LimitError} where they are too many, or too long
 */
export function stopsOf(
  stop: string | readonly string[] | undefined,
): string[] {
  const stops = [stop ?? []].flat().filter((text) => text !== "");
  checkTexts("stop", stops, mostStops, mostCharacters);
  return stops;
}

/**
 * Checks what takes time for each of some texts, and for each character of them.
 *
 * @throws {LimitError} where they are too many, or too long
 */
export function checkTexts(
  name: string,
  texts: readonly string[],
  most: number,
  mostCharacters: number,
): void {
  if (texts.length > most) {
    throw new LimitError(
      `Cannot use ${name}: it has ${texts.length} texts, the limit is ${most}`,
    );
  }
  const length = texts.reduce((sum, { length }) => sum + length, 0);
  if (length <= mostCharacters) return;
  throw new LimitError(
    `Cannot use ${name}: its texts have ${length} characters, the limit is ${mostCharacters}`,
  );
}
