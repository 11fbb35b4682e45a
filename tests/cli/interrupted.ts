/** Commands that are stopped in the midst of their work. */
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import {
  type CliOptions,
  type CliResult,
  decoded,
  startCli,
} from "./run_cli.ts";

/** When a command is stopped, and how. */
export interface StopOptions extends Pick<CliOptions, "permissions"> {
  /** What is there when it has got far enough: a file of its results, such as one of so many bytes */
  readonly when: string;
  readonly bytes?: number;
  readonly signals?: readonly Deno.Signal[];
}

/** Runs a command until it has written what shows that it is at work, and stops it: by Ctrl-C, unless other signals are given. */
export async function stopped(
  args: readonly string[],
  { permissions, when, bytes = 0, signals = ["SIGINT"] }: StopOptions,
): Promise<CliResult> {
  const child = startCli(args, { permissions });
  await child.stdin.close();
  let isRunning = true;
  const output = child.output().finally(() => isRunning = false);
  const isTime = () =>
    Deno.stat(when).then(({ size }) => size >= bytes, () => false);
  while (isRunning && !await isTime()) {
    await delay(5);
  }
  for (const signal of isRunning ? signals : []) child.kill(signal);
  return decoded(await output);
}
