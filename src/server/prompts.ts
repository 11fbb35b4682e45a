/** Prompts as texts, or as ids, which are taken as they are. */
import * as v from "valibot";
import type { LanguageModel } from "../generate/language_model.ts";
import { checkTextLength } from "../generate/text_length.ts";
import { RequestError } from "./errors.ts";
import { inSlices } from "../platform/time_slice.ts";

/** The most prompts of one request. */
const mostPrompts = 2048;

const what = "a text, a list of ids, or a list of these";
const ids = v.array(v.number("a token's id"), what);

/** One prompt, or a list of them: texts, or lists of ids. */
export const promptsField: v.GenericSchema<
  string | readonly number[] | readonly (string | readonly number[])[]
> = v.union([v.string(), ids, v.array(v.union([v.string(), ids]))], what);

/**
 * Each prompt, as it was given.
 *
 * @throws {RequestError} for none, or too many
 */
export function listOfPrompts(
  given: v.InferOutput<typeof promptsField>,
  param = "prompt",
): (string | readonly number[])[] {
  const isOne = typeof given === "string" || typeof given[0] === "number";
  const prompts = (isOne ? [given] : given) as (string | readonly number[])[];
  checkCount(prompts, param);
  return prompts;
}

/** @throws {RequestError} for no prompts, or too many */
export function checkCount(
  { length }: readonly unknown[],
  param = "prompt",
): void {
  if (length > 0 && length <= mostPrompts) return;
  throw new RequestError(
    400,
    `Cannot answer ${length} prompts: there are 1 to ${mostPrompts}`,
    { param },
  );
}

/**
 * The ids of each prompt: texts begin as the file says that texts begin.
 *
 * @throws as {@linkcode listOfPrompts} does
 * @throws {ContextError} for a text that is longer than any that fits the context
 */
export function promptsOf(
  given: v.InferOutput<typeof promptsField>,
  model: LanguageModel,
  param?: string,
): Promise<(readonly number[])[]> {
  return inSlices(listOfPrompts(given, param), (prompt) => {
    if (typeof prompt !== "string") return prompt;
    checkTextLength(prompt, model.tokenizer, model.engine.contextSize);
    return model.tokenize(prompt, { parseSpecial: true, addEos: false });
  });
}
