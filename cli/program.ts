/**
 * From arguments to an exit code: finds the command, reads its flags, runs it,
 * and turns whatever goes wrong into one line.
 *
 * @module
 */
import { Command, CommanderError } from "commander";
import config from "../deno.json" with { type: "json" };
import { CulmError } from "../mod.ts";
import { type CommandSpec, interruptedCode } from "./command.ts";
import { commands } from "./commands.ts";
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
  let code = 0;
  let help = "";
  const program = makeProgram((text) => help += text);
  for (const spec of commands) {
    addCommand(program, spec, (result) => code = result);
  }
  try {
    await program.parseAsync(args.length > 0 ? args : ["--help"], {
      from: "user",
    });
    return code;
  } catch (error) {
    // Commander throws where it would have left the process, after --help too.
    const shown = error instanceof CommanderError && error.exitCode === 0;
    if (!shown) return report(error);
  }
  return await write(help).then(() => 0, report);
}

function makeProgram(writeHelp: (text: string) => void): Command {
  return new Command(config.name.split("/").at(-1))
    .description("Runs ReLU-sparse language models in one sandbox.")
    .version(config.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    // Flags after a command are the command's own, also where the program has the same.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: writeHelp,
      writeErr: () => {}, // The error is thrown as well, and reported once.
      // Commander's own answers read the environment, which takes a permission.
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      getOutHelpWidth: helpWidth,
      getErrHelpWidth: helpWidth,
    });
}

function helpWidth(): number {
  const fallback = 100;
  if (!Deno.stdout.isTerminal()) return fallback;
  try {
    return Deno.consoleSize().columns;
  } catch {
    return fallback;
  }
}

function addCommand(
  program: Command,
  spec: CommandSpec,
  finish: (code: number) => void,
): void {
  const command = program.command(spec.name)
    .description(spec.summary)
    .addHelpText(
      "after",
      `\nExamples:\n${
        spec.examples.map((example) => `  ${example}\n`).join("")
      }`,
    )
    .action(async (...args) => {
      // What has no flag comes first, the command itself last.
      const flags = args.at(-2), argument = args[0];
      finish(await spec.run(flags, argument));
    });
  if (spec.argument) command.argument(spec.argument);
  for (const option of spec.options) command.addOption(option);
}

/** Says what went wrong in one line on standard error, and gives the exit code for it. */
function report(error: unknown): number {
  if (error instanceof OutputClosed) return 0;
  if (error instanceof DOMException && error.name === "AbortError") {
    note("interrupted");
    return interruptedCode;
  }
  note(`error: ${printable(messageOf(error)).replace(/^error: /, "")}`);
  return error instanceof CommanderError || error instanceof BadFlags
    ? usageCode
    : failedCode;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const message = error.message.trim().replace(/\s*\n\s*/g, " ");
  const expected = error instanceof CulmError ||
    error instanceof CommanderError ||
    error instanceof Deno.errors.NotCapable;
  return expected ? message : `unexpected ${error.name}: ${message}`;
}
