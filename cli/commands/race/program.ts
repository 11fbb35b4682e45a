/** Another program as a runner: what it writes to standard output, and when. */
import { CulmError } from "../../../mod.ts";
import { BadFlags } from "../../option.ts";
import { note, printableLines } from "../../terminal.ts";
import type { Mark } from "./track.ts";

/** A program by the name that the race gives it. */
export interface Program {
  readonly name: string;
  /** A line for the shell */
  readonly command: string;
}

/** Reads `NAME=COMMAND`. */
export function programOf(text: string): Program {
  const [, name, command] = text.match(/^([^=]+)=(.+)$/s) ?? [];
  if (command !== undefined) return { name: name.trim(), command };
  throw new BadFlags(
    `Cannot run --command ${JSON.stringify(text)}: it is NAME=COMMAND`,
  );
}

/**
 * Runs a program and gives what it writes, piece by piece.
 *
 * @throws {CulmError} where it cannot be run, or fails
 */
export async function* outputOf(
  { name, command }: Program,
  signal: AbortSignal,
): AsyncGenerator<Mark, void, void> {
  const [shell, flag] = Deno.build.os === "windows"
    ? ["cmd", "/c"]
    : ["sh", "-c"];
  const start = performance.now();
  await using child = new Deno.Command(shell, {
    args: [flag, command],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  const errors = new Response(child.stderr).text();
  const text = child.stdout.pipeThrough(new TextDecoderStream());
  for await (const piece of text) {
    yield { ms: performance.now() - start, text: piece };
  }
  const { code } = await child.status;
  signal.throwIfAborted();
  if (code === 0) return;
  const last = (await errors).trimEnd().split("\n").slice(-3).join("\n");
  if (last) note(printableLines(last));
  throw new CulmError(`Cannot race ${name}: it ended with exit code ${code}`);
}
