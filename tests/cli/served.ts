/** A server as users start it. */
import assert from "node:assert/strict";
import {
  type CliOptions,
  type CliResult,
  decoded,
  startCli,
} from "./run_cli.ts";

/** A server in a process of its own. */
export interface Served extends AsyncDisposable {
  readonly url: string;
  readonly child: Deno.ChildProcess;
  /** Waits for its end. */
  readonly ended: () => Promise<CliResult>;
}

/** A port that was free a moment ago. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Starts a server, or a gateway, and waits until it says that it listens. */
export async function serve(
  args: readonly string[],
  permissions: readonly string[],
  { command = "serve", ...options }: CliOptions & { command?: string } = {},
): Promise<Served> {
  const child = startCli([command, ...args], { permissions, ...options });
  await child.stdin.close();
  const [watched, kept] = child.stderr.tee();
  let said = "", url: string | undefined;
  for await (const text of watched.pipeThrough(new TextDecoderStream())) {
    said += text;
    url = said.match(/^listening on (\S+)$/m)?.[1];
    if (url) break;
  }
  const err = new Response(kept).bytes(),
    out = new Response(child.stdout).bytes();
  const ended = async () =>
    decoded({
      code: (await child.status).code,
      stdout: await out,
      stderr: await err,
    });
  assert.ok(url, said);
  return {
    url,
    child,
    ended,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await ended();
    },
  };
}
