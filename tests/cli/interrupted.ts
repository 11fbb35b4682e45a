/** Ctrl-C in the midst of work. */
import assert from "node:assert/strict";
import { startCli } from "./run_cli.ts";

/** How to tell how far a command has come. */
export interface InterruptOptions {
  readonly permissions: readonly string[];
  /** What it says on standard error when it begins its work */
  readonly begins: string;
  /** What it says when it was interrupted; the group counts what is done */
  readonly kept: RegExp;
}

/**
 * Runs a command and interrupts it, later each time until some of its work is
 * done, however fast the machine is. Gives what it said on standard error.
 */
export async function interruptedInTheMidst(
  args: readonly string[],
  options: InterruptOptions,
): Promise<string> {
  for (let delay = 50;; delay *= 3) {
    const err = await interruptedAfter(delay, args, options);
    if (Number(err.match(options.kept)?.[1] ?? 0) > 0) return err;
  }
}

/** Interrupts it so many milliseconds after its work has begun. */
async function interruptedAfter(
  delay: number,
  args: readonly string[],
  { permissions, begins }: InterruptOptions,
): Promise<string> {
  const child = startCli(args, { permissions });
  await child.stdin.close();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let err = "";
  while (!err.includes(begins)) {
    const { value, done } = await reader.read();
    assert.ok(!done, err);
    err += value;
  }
  await new Promise((resolve) => setTimeout(resolve, delay));
  child.kill("SIGINT");
  for (let done = false, value; !done;) {
    ({ value = "", done } = await reader.read());
    err += value;
  }
  await child.stdout.cancel();
  assert.equal((await child.status).code, 130, err);
  return err;
}
