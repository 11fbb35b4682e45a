// @ts-types="../../../src/std/colors.d.ts"
import { dim } from "@std/fmt/colors";
import { note } from "../../terminal.ts";

/** A line of the chat's own. */
export function say(line: string): void {
  note(Deno.stderr.isTerminal() ? dim(line) : line);
}
