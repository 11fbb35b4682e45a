/** Options of the scripts in this folder: one that is wrong ends the process with one line. */
import { numberOr } from "../cli/values.ts";
import type { OptionSpec } from "../mod.ts";
import { checkValue } from "../src/options.ts";

/** Says in one line what is wrong, and ends the process. */
export function exitWith(error: unknown): never {
  console.error(`error: ${(error as Error).message}`);
  Deno.exit(2);
}

/** What `read` gives of the options; the process ends where it throws. */
export function optionsOf<Options>(read: () => Options): Options {
  try {
    return read();
  } catch (error) {
    exitWith(error);
  }
}

/** The number that an option's text spells: a whole one from 1 up, if `spec` says no other. */
export function numberOf(
  text: string,
  name: string,
  spec: Partial<OptionSpec> = { type: "integer", minimum: 1 },
): number {
  return checkValue(name, spec, numberOr(text)) as number;
}
