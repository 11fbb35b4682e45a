/**
 * From arguments to an exit code: finds the command, reads its flags, runs it,
 * and turns whatever goes wrong into one line.
 *
 * @module
 */
import config from "../deno.json" with { type: "json" };
import { CulmError } from "../mod.ts";
import { nearestHint } from "../src/nearest_name.ts";
import { readArguments } from "./arguments.ts";
import { type CommandSpec, interruptedCode } from "./command.ts";
import { commandOf, commands } from "./commands.ts";
import { commandHelp, programHelp } from "./help.ts";
import { withHubModels } from "./hub_model.ts";
import { BadFlags } from "./option.ts";
import { note, OutputClosed, printable, write } from "./terminal.ts";

/** Exit code of work that failed. */
const failedCode = 1;
/** Exit code of arguments that cannot be understood. */
const usageCode = 2;

/**
 * Runs the command line, and gives its exit code: 0; 1 where the work failed;
 * 2 where the arguments are wrong; 130 after Ctrl-C.
 */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run([...args]);
  } catch (error) {
    return report(error);
  }
}

async function run([name, ...args]: string[]): Promise<number> {
  switch (name) {
    case undefined:
    case "-h":
    case "--help":
      return await print(programHelp(commands));
    case "-V":
    case "--version":
      return await print(`${config.version}\n`);
    case "help":
      return await print(
        args.length > 0
          ? commandHelp(find(args[0], args.slice(1)))
          : programHelp(commands),
      );
  }
  const command = find(name, args);
  const read = readArguments(args, command);
  if (!read) return await print(commandHelp(command));
  const { flags, argument, notes } = read;
  for (const line of notes) note(`note: ${printable(line)}`);
  return await command.run(await withHubModels(flags, command), argument);
}

async function print(text: string): Promise<number> {
  await write(text);
  return 0;
}

/** @throws {BadFlags} where there is no such command */
function find(name: string, args: string[]): CommandSpec {
  const found = commandOf(name, args);
  if (found) return found;
  if (name.startsWith("-")) {
    throw new BadFlags(
      `Cannot use ${name} before a command: it comes after one, such as culm generate ${name}`,
    );
  }
  const names = commands.map(({ name }) => name);
  throw new BadFlags(
    `unknown command '${name}'.${
      nearestHint(" Did you mean", name, names)
    } culm --help lists them`,
  );
}

/** Says what went wrong in one line on standard error, and gives the exit code for it. */
function report(error: unknown): number {
  if (error instanceof OutputClosed) return 0;
  if (error instanceof DOMException && error.name === "AbortError") {
    note("interrupted");
    return interruptedCode;
  }
  note(`error: ${printable(messageOf(error)).replace(/^error: /, "")}`);
  return error instanceof BadFlags ? usageCode : failedCode;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const message = error.message.trim().replace(/\s*\n\s*/g, " ");
  const expected = error instanceof CulmError ||
    error instanceof Deno.errors.NotCapable;
  return expected ? message : `unexpected ${error.name}: ${message}`;
}
