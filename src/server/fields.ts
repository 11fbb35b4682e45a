/** Fields that the bodies of requests have in common; each may be absent, or null. */
import * as v from "valibot";

/** True or false. */
export const flag = v.nullish(v.boolean("true or false"));

/** A text. */
export const text = v.nullish(v.string("a text"));

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

/** The texts that end an answer; empty ones end none. */
export function stopsOf(
  stop: string | readonly string[] | undefined,
): string[] {
  return [stop ?? []].flat().filter((text) => text !== "");
}
