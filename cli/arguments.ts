/**
 * From arguments to the values of a command's flags, by its tables.
 *
 * @module
 */
// @ts-types="../src/std/parse_args.d.ts"
import { parseArgs } from "@std/cli/parse-args";
import { CulmError } from "../mod.ts";
import { nearestHint } from "../src/nearest_name.ts";
import { checkValue } from "../src/options.ts";
import type { CommandSpec, Flags } from "./command.ts";
import { foreignOption } from "./foreign_options.ts";
import { BadFlags, type FlagSpec, namesOf, takesValue } from "./option.ts";
import { numberOr } from "./values.ts";

/** What the arguments of a command give. */
export interface Arguments {
  readonly flags: Flags;
  /** What has no flag; empty for commands that take nothing of the kind */
  readonly argument: string;
  /** What is to be said of options that change nothing here */
  readonly notes: readonly string[];
}

/** A flag, as it may be spelled. */
interface Spelled {
  readonly key: string;
  readonly spec: FlagSpec;
  /** Whether this spelling says that it is unwanted */
  readonly isNegative: boolean;
}

/** The flag that every command has. */
export const helpFlag: FlagSpec = {
  type: "boolean",
  flag: "-h, --help",
  description: "print this help",
};

/**
 * Reads the arguments of a command; undefined where they ask for its help.
 *
 * @throws {BadFlags} where they cannot be understood
 */
export function readArguments(
  args: readonly string[],
  command: CommandSpec,
): Arguments | undefined {
  const specs: Record<string, FlagSpec> = Object.assign(
    { help: helpFlag },
    ...Object.values(command.options),
  );
  const { args: given, typed, notes } = expanded(
    args,
    spellings(specs),
    command,
  );
  const keysOf = (is: (spec: FlagSpec) => unknown) =>
    Object.keys(specs).filter((key) => is(specs[key]));
  const isSwitch = (spec: FlagSpec) => !takesValue(spec);
  const parsed = parseArgs(given, {
    string: [...keysOf(takesValue), "_"],
    boolean: keysOf(isSwitch),
    collect: keysOf(isRepeated),
    negatable: keysOf(({ negative }) => negative),
  });
  if (parsed.help) return undefined;
  const flags = Object.entries(specs).map(([key, spec]) => {
    const raw = parsed[key];
    if (isSwitch(spec)) return [key, switched(spec, raw, typed.has(key))];
    const isGiven = Array.isArray(raw) ? raw.length > 0 : raw !== undefined;
    if (isGiven) return [key, valueOf(raw, spec, typed.get(key)!)];
    if (!spec.required) return [key, spec.default];
    throw new BadFlags(`required option '${spec.flag}' not specified`);
  });
  return {
    flags: Object.fromEntries(flags),
    argument: argumentOf(parsed._, command),
    notes,
  };
}

/** What a switch says. One that no other flag turns off is what it is not by default. */
function switched(
  { default: fallback = false, negative }: FlagSpec,
  raw: unknown,
  isGiven: boolean,
): boolean {
  if (!isGiven) return fallback as boolean;
  return negative ? raw === true : !fallback;
}

function isRepeated({ type, repeated }: FlagSpec): boolean {
  return repeated ?? type === "strings";
}

/** The flags of a command by each of their spellings. */
function spellings(
  specs: Readonly<Record<string, FlagSpec>>,
): Map<string, Spelled> {
  return new Map(
    Object.entries(specs).flatMap(([key, spec]) =>
      [false, true].flatMap((isNegative): [string, Spelled][] => {
        const flag = isNegative ? spec.negative?.flag ?? "" : spec.flag;
        const names = flag === "" ? [] : namesOf(flag);
        return names.map((name) => [name, { key, spec, isNegative }]);
      })
    ),
  );
}

/** Arguments as `parseArgs` understands them. */
interface Expanded {
  /** Each flag by its key, with its value */
  readonly args: string[];
  /** The name that was typed for a key */
  readonly typed: Map<string, string>;
  /** What is to be said of options that change nothing */
  readonly notes: string[];
}

const isFlag = (arg: string) => /^-./.test(arg);

/** Spells flags out, for `parseArgs` takes `-ngl` for three letters, and the value `-1` for a flag. */
function expanded(
  args: readonly string[],
  known: ReadonlyMap<string, Spelled>,
  command: CommandSpec,
): Expanded {
  const rest = [...args];
  const found: Expanded = { args: [], typed: new Map(), notes: [] };
  while (rest.length > 0) {
    const arg = rest.shift()!;
    if (arg === "--") {
      found.args.push(arg, ...rest.splice(0));
    } else if (!isFlag(arg)) {
      found.args.push(arg);
    } else {
      const [, name, , inline] = arg.match(/^(--?[^=]*)(=(.*))?$/s)!;
      const spelled = known.get(name);
      if (inline !== undefined) rest.unshift(inline);
      const before = rest.length;
      if (spelled) takeFlag(name, spelled, rest, found);
      else takeForeign(name, command, known, rest, found);
      if (inline !== undefined && rest.length === before) {
        throw new BadFlags(`Cannot use ${arg}: ${name} takes no value`);
      }
    }
  }
  return found;
}

/** Takes a flag's value off the arguments that are left, or its values. */
function takeFlag(
  name: string,
  { key, spec, isNegative }: Spelled,
  rest: string[],
  { args, typed }: Expanded,
): void {
  typed.set(key, name);
  if (isNegative) args.push(`--no-${key}`);
  else if (!takesValue(spec)) args.push(`--${key}`);
  else if (rest.length === 0) {
    throw new BadFlags(`option '${spec.flag}' argument missing`);
  } else {
    const isVariadic = spec.flag.endsWith("...>") && isRepeated(spec);
    do {
      args.push(`--${key}=${rest.shift()}`);
    } while (isVariadic && rest.length > 0 && !isFlag(rest[0]));
  }
}

/**
 * Takes an option of llama.cpp's that changes nothing here, with its value.
 *
 * @throws {BadFlags} where it asks for what is not there, or nobody knows it
 */
function takeForeign(
  name: string,
  command: CommandSpec,
  known: ReadonlyMap<string, Spelled>,
  rest: string[],
  { notes }: Expanded,
): void {
  const foreign = foreignOption(name, command.name);
  if (!foreign) {
    const hint = nearestHint(" Did you mean", name, [...known.keys()]);
    throw new BadFlags(
      `unknown option '${name}'.${hint} culm ${command.name} --help lists them`,
    );
  }
  const { lacks, note, value } = foreign;
  if (lacks) throw new BadFlags(`Cannot use ${name}: ${lacks}`);
  if (rest.length > 0 && value.test(rest[0])) rest.shift();
  notes.push(`${name} changes nothing: ${note}`);
}

/** What a flag gives: one value, a list, or false where it is unwanted. */
function valueOf(raw: unknown, spec: FlagSpec, name: string): unknown {
  if (raw === false) return false;
  const read = spec.read ?? ((text) => readPlain(text, spec, name));
  try {
    return Array.isArray(raw)
      ? raw.flatMap((text) =>
        spec.type === "strings" ? read(text, name) : [read(text, name)]
      )
      : read(raw as string, name);
  } catch (error) {
    throw error instanceof CulmError ? new BadFlags(error.message) : error;
  }
}

/** A value of the type that the table says. */
function readPlain(text: string, spec: FlagSpec, name: string): unknown {
  const isText = spec.enum || spec.type === "string" || spec.type === "strings";
  return checkValue(name, spec, isText ? text : numberOr(text));
}

function argumentOf(given: readonly string[], command: CommandSpec): string {
  const { name, argument } = command;
  if (argument === undefined && given.length > 0) {
    const takesModel = Object.values(command.options)
      .some((group) => "model" in group);
    throw new BadFlags(
      `too many arguments: ${name} takes options alone, and was given ${
        given[0]
      }${takesModel ? "; a model is named by -m" : ""}`,
    );
  }
  if (argument !== undefined && given.length === 0) {
    throw new BadFlags(`missing required argument '${argument}'`);
  }
  if (given.length > 1) {
    throw new BadFlags(
      `too many arguments: ${name} takes one, ${argument}, and was given ${given.length}`,
    );
  }
  return given[0] ?? "";
}
