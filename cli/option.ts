/**
 * How an option is made, and how a bad one is reported.
 *
 * @module
 */
import { InvalidArgumentError, Option } from "commander";
import { CulmError, UsageError } from "../mod.ts";
import type { ReadValue } from "./values.ts";

/** Flags that contradict one another, or lack one. */
export class BadFlags extends UsageError {}

/** Makes an option; its short flag may have several letters, as llama.cpp's do. */
export function option(
  flags: string,
  description: string,
  read?: ReadValue,
  fallback?: unknown,
): Option {
  const [, short, rest] = flags.match(/^(?:(-[^-, ]+), )?(--.+)$/) ?? [];
  const made = new Option(rest, description);
  // Set afterwards, for the constructor takes one letter only.
  made.short = short;
  made.flags = flags;
  if (read) {
    made.argParser((text, previous) => readOrExplain(read, text, previous));
  }
  if (fallback !== undefined) made.default(fallback);
  return made;
}

function readOrExplain(
  read: ReadValue,
  text: string,
  previous: unknown,
): unknown {
  try {
    return read(text, previous);
  } catch (error) {
    if (error instanceof CulmError) {
      throw new InvalidArgumentError(error.message);
    }
    throw error;
  }
}

/** Puts options under one heading of the help. */
export function group(heading: string, ...options: Option[]): Option[] {
  return options.map((each) => each.helpGroup(`${heading}:`));
}
