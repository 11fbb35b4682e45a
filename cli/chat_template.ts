/**
 * The template that writes chats, where it is not the model's own.
 *
 * @module
 */
import { chatOptions, UsageError } from "../mod.ts";
import { readText } from "./input.ts";
import { namedTemplates } from "./named_templates.ts";
import type { FlagSpec } from "./option.ts";

/** Which template. */
export const templateFlag = {
  ...chatOptions.template,
  flag: "--chat-template, --chat-template-file <template>",
} as const satisfies FlagSpec;

/**
 * What the flag names: a template of llama.cpp's, a file, or a text, which always
 * holds a brace, as the name of a template, or of a file, hardly does.
 *
 * @throws {UsageError} where it is none of these
 */
export async function readTemplate(
  given: string | undefined,
): Promise<string | undefined> {
  if (given === undefined) return undefined;
  if (!isTemplateFile(given)) return namedTemplates[given] ?? given;
  try {
    return await readText(given);
  } catch (error) {
    const isName = error instanceof UsageError && /^[\w.-]+$/.test(given);
    if (!isName || given.endsWith(".jinja")) throw error;
    throw new UsageError(
      `Cannot use --chat-template "${given}": it is no template, no file that can be read, and none of ${
        Object.keys(namedTemplates).join(", ")
      }`,
    );
  }
}

/** Whether the flag can be no more than a file's name. */
export function isTemplateFile(given: string): boolean {
  return !given.includes("{") && !Object.hasOwn(namedTemplates, given);
}
