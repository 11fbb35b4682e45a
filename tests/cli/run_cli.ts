/** Runs the command line as a user does: in a process of its own, with no permission unless asked. */

const main = new URL("../../cli/main.ts", import.meta.url).pathname;

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
}

/** Starts the command line. */
export function startCli(
  args: readonly string[],
  options: CliOptions = {},
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      ...options.permissions ?? [],
      main,
      ...args,
    ],
    // Without it, Mesa's drivers complain on standard error.
    env: { XDG_RUNTIME_DIR: "/tmp" },
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

/** Runs a shell line in which `culm` is the command line. */
export async function runShell(line: string): Promise<CliResult> {
  const culm = `"${Deno.execPath()}" run --quiet --no-prompt "${main}"`;
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
