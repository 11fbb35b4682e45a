/** Runs the command line as a user does: in a process of its own, with no permission unless asked. */
import { main } from "../../cli/program.ts";

const program = `${import.meta.dirname}/../../cli/main.ts`;

/** What a run of the command line left. */
export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** How a run is set up. */
export interface CliOptions {
  /** Standard input. */
  readonly input?: string;
  /** Deno's own flags, such as `--allow-read`. */
  readonly permissions?: readonly string[];
  /** Variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** The most files, sockets among them, that it may have open; needs a shell. */
  readonly openFiles?: number;
}

/** Starts the command line. */
export function startCli(
  args: readonly string[],
  options: CliOptions = {},
): Deno.ChildProcess {
  const command = [
    Deno.execPath(),
    "run",
    "--quiet",
    "--no-prompt",
    ...options.permissions ?? [],
    program,
    ...args,
  ];
  const { openFiles } = options;
  const [first, ...rest] = openFiles === undefined
    ? command
    : ["sh", "-c", `ulimit -n ${openFiles}; exec "$@"`, "sh", ...command];
  return new Deno.Command(first, {
    args: rest,
    // Without it, Mesa's drivers complain on standard error.
    env: { XDG_RUNTIME_DIR: "/tmp", ...options.env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs the command line to its end. */
export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const child = startCli(args, options);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(options.input ?? "")).catch(
    () => {},
  );
  await writer.close().catch(() => {}); // The process may have ended without reading.
  return decoded(await child.output());
}

/**
 * Runs the command line in this process, with its permissions, which takes a
 * tenth of the time: for what neither the sandbox nor the end of a process is
 * part of. One at a time: the standard streams are caught.
 */
export async function runHere(
  args: readonly string[],
  { input = "" }: Pick<CliOptions, "input"> = {},
): Promise<CliResult> {
  using out = new Caught(Deno.stdout), err = new Caught(Deno.stderr);
  using _ = overridden(Deno.stdin, {
    readable: new Blob([input]).stream(),
    isTerminal: () => false,
  });
  return { code: await main(args), out: out.text, err: err.text };
}

/** Puts properties over those of an object's class, until they are disposed of. */
function overridden(object: object, properties: object): Disposable {
  for (const [name, value] of Object.entries(properties)) {
    Object.defineProperty(object, name, { value, configurable: true });
  }
  return {
    [Symbol.dispose]: () => {
      for (const name of Object.keys(properties)) {
        Reflect.deleteProperty(object, name);
      }
    },
  };
}

/** What is written to a stream of this process meanwhile, kept from it. */
class Caught implements Disposable {
  text = "";
  readonly #over: Disposable;

  constructor(stream: typeof Deno.stdout) {
    const decoder = new TextDecoder();
    const writeSync = (bytes: Uint8Array) => {
      this.text += decoder.decode(bytes, { stream: true });
      return bytes.length;
    };
    const write = (bytes: Uint8Array) => Promise.resolve(writeSync(bytes));
    const isTerminal = () => false;
    this.#over = overridden(stream, { write, writeSync, isTerminal });
  }

  [Symbol.dispose](): void {
    this.#over[Symbol.dispose]();
  }
}

/** Runs a shell line in which `culm` is the command line. */
export async function runShell(line: string): Promise<CliResult> {
  const culm = `"${Deno.execPath()}" run --quiet --no-prompt "${program}"`;
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", line.replace("culm", culm)],
  }).output();
  return decoded({ code, stdout, stderr });
}

/** What a process left, its output as text. */
export function decoded(
  output: { code: number; stdout: Uint8Array; stderr: Uint8Array },
): CliResult {
  const decoder = new TextDecoder();
  return {
    code: output.code,
    out: decoder.decode(output.stdout),
    err: decoder.decode(output.stderr),
  };
}
