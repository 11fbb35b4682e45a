/**
 * The text of `--help`.
 *
 * @module
 */
// @ts-types="../src/std/colors.d.ts"
import { bold } from "@std/fmt/colors";
import config from "../deno.json" with { type: "json" };
import { helpFlag } from "./arguments.ts";
import type { CommandSpec } from "./command.ts";
import type { FlagSpec } from "./option.ts";
import { screenSize } from "./terminal.ts";

const program = config.name.split("/").at(-1)!;

/** A name and what is said of it. */
type Entry = readonly [term: string, text: string];

/** What the program does, and its commands. */
export function programHelp(commands: readonly CommandSpec[]): string {
  const named = commands.map(({ name, argument = "", summary }): Entry => [
    `${name} ${argument}`.trimEnd(),
    summary,
  ]);
  return `Usage: ${program} <command> [options]\n
Runs ReLU-sparse language models in one sandbox.\n
${
    sections({
      Options: [
        ["-V, --version", "print the version"],
        ["-h, --help", "print this help, or behind a command that command's"],
      ],
      Commands: [...named, ["help <command>", "print the help of a command"]],
    })
  }`;
}

/** What a command does, its options and examples. */
export function commandHelp(command: CommandSpec): string {
  const { name, argument, summary, options, examples } = command;
  const usage = [program, name, argument, "[options]"].filter(Boolean);
  const groups = Object.entries(options).map((
    [heading, table],
  ): [string, Entry[]] => [heading, Object.values(table).flatMap(entriesOf)]);
  groups.push(["Help", entriesOf(helpFlag)]);
  return `Usage: ${usage.join(" ")}\n\n${wrapped(summary, 0)}\n\n${
    sections(Object.fromEntries(groups))
  }\n${heading("Examples")}${
    examples.map((example) => `  ${example}\n`).join("")
  }`;
}

/** A flag, and the one that says it is unwanted. */
function entriesOf(spec: FlagSpec): Entry[] {
  const { flag, description, repeated, type, negative } = spec;
  const more = repeated ?? type === "strings" ? "; may be repeated" : "";
  const fallback = defaultOf(spec);
  const own: Entry = [flag, `${description}${more}${fallback}`];
  return negative ? [own, [negative.flag, negative.description]] : [own];
}

/** What a flag is where it is left out, for flags that have a value. */
function defaultOf({ flag, default: value, defaultText }: FlagSpec): string {
  if (!flag.includes("<")) return "";
  const text = defaultText ?? value;
  return text === undefined ? "" : ` (default: ${text})`;
}

function sections(groups: Readonly<Record<string, readonly Entry[]>>): string {
  const terms = Object.values(groups).flat().map(([term]) => term.length);
  const column = Math.max(...terms) + 4;
  return Object.entries(groups).map(([name, entries]) =>
    heading(name) +
    entries.map(([term, text]) =>
      `  ${term}`.padEnd(column) + `${wrapped(text, column)}\n`
    ).join("")
  ).join("\n");
}

function heading(name: string): string {
  const line = `${name}:`;
  return `${Deno.stdout.isTerminal() ? bold(line) : line}\n`;
}

/** A text in lines as wide as the terminal; those after the first begin at `column`. */
function wrapped(text: string, column: number): string {
  const width = Math.max(20, columns() - column);
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && longer.length > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines.join(`\n${" ".repeat(column)}`);
}

function columns(): number {
  return Deno.stdout.isTerminal() ? screenSize().columns : 100;
}
