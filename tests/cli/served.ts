/** A server as users start it. */
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
  /** Waits until it has said something on standard error. */
  readonly said: (what: RegExp) => Promise<RegExpMatchArray>;
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
  let text = "";
  let changed = Promise.withResolvers<void>();
  const reading = child.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({
      write(more) {
        text += more;
        changed.resolve();
        changed = Promise.withResolvers();
      },
      close() {
        // Nobody may be waiting.
        changed.promise.catch(() => {});
        changed.reject(new Error(`it never said that: ${text}`));
      },
    }),
  );
  const said = async (what: RegExp) => {
    for (;;) {
      const found = text.match(what);
      if (found) return found;
      await changed.promise;
    }
  };
  const out = new Response(child.stdout).bytes();
  const ended = async () => {
    const [{ code }, stdout] = await Promise.all([child.status, out, reading]);
    return decoded({ code, stdout, stderr: new TextEncoder().encode(text) });
  };
  const [, url] = await said(/^listening on (\S+)$/m);
  return {
    url,
    child,
    said,
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
