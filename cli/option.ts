/**
 * What an option of the command line is, and how a bad one is reported.
 *
 * @module
 */
import { type OptionSpec, UsageError } from "../mod.ts";
import type { ValueOf } from "../lab.ts";

/** Flags that cannot be read, contradict one another, or lack one. */
export class BadFlags extends UsageError {}

/** An option with what only the command line needs to know of it. */
export interface FlagSpec extends OptionSpec {
  readonly description: string;
  readonly flag: string;
  /** Reads its value, where type, words and range do not say how; `name` is what to call it in an error. */
  readonly read?: (text: string, name: string) => unknown;
  /** May be given several times, which makes a list. */
  readonly repeated?: true;
  /** The flag that says it is unwanted, which makes it false. */
  readonly negative?: { readonly flag: string; readonly description: string };
  /** Must be given. */
  readonly required?: true;
}

/** Flags by the names under which a command finds their values. */
export type FlagTable = Readonly<Record<string, FlagSpec>>;

/** A command's flags under the headings of its help. */
export type FlagGroups = Readonly<Record<string, FlagTable>>;

/** What one flag gives. */
type FlagValue<Spec> =
  | (Spec extends { readonly type: "strings" } ? readonly string[]
    : Spec extends { readonly repeated: true } ? readonly OneValue<Spec>[]
    : OneValue<Spec>)
  | (Spec extends { readonly negative: object } ? false : never);

type OneValue<Spec> = Spec extends
  { readonly read: (text: string, name: string) => infer Value } ? Value
  : ValueOf<Spec>;

/** What is there, whatever was given. */
type Given<Table> = {
  [Name in keyof Table]: Table[Name] extends { readonly default: unknown } | {
    readonly required: true;
  } ? Name
    : never;
}[keyof Table];

/** What the flags of a table give. */
export type FlagsOf<Table> =
  & { readonly [Name in Given<Table>]: FlagValue<Table[Name]> }
  & {
    readonly [Name in Exclude<keyof Table, Given<Table>>]?: FlagValue<
      Table[Name]
    >;
  };

/** What the flags of several tables give. */
export type FlagsOfGroups<Groups> = UnionToIntersection<
  { [Heading in keyof Groups]: FlagsOf<Groups[Heading]> }[keyof Groups]
>;

type UnionToIntersection<Union> =
  (Union extends unknown ? (each: Union) => void : never) extends
    (all: infer All) => void ? All : never;

/** The names in a flag: `-t` and `--threads` of `-t, --threads <n>`. */
export function namesOf(flag: string): string[] {
  return flag.match(/(?<!\S)--?[^\s,]+/g)!;
}

/** Whether a value follows the flag. */
export function takesValue({ flag }: Pick<FlagSpec, "flag">): boolean {
  return flag.includes("<");
}
