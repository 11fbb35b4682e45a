/**
 * What a command of the command line is.
 *
 * @module
 */
import type { FlagGroups } from "./option.ts";

/** The values of a command's flags, by the names of its tables. */
export type Flags = Readonly<Record<string, unknown>>;

/** One command: its arguments apart from what it does. */
export interface CommandSpec {
  /** The word that calls it. */
  readonly name: string;
  /** What it takes without a flag, as `<source>`; most take nothing. */
  readonly argument?: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** Its flags, under the headings of its help. */
  readonly options: FlagGroups;
  /** Takes no more of a model than its header: one on the hub is not fetched for it. */
  // deno-lint-ignore no-explicit-any
  readonly readsHeader?: (flags: any) => boolean;
  /** A call that works as it stands, for `--help`. */
  readonly examples: readonly string[];
  /** Does the work, and gives the exit code. */
  // deno-lint-ignore no-explicit-any
  readonly run: (flags: any, argument: string) => Promise<number>;
}

/** What a shell shows for a process that Ctrl-C ended: 128 + SIGINT. */
export const interruptedCode = 130;
