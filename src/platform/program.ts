/** Programs of JavaScript that run in a process of their own, and may do nothing. */
import { UsageError } from "../errors.ts";

/** A program that has been started. */
export interface Program {
  /** Into its standard input; lost where it has ended. */
  write(bytes: Uint8Array): Promise<void>;
  /** The next byte of its standard output; undefined where it has ended. */
  readByte(): Promise<number | undefined>;
  /** Ends it at once, whatever it does. */
  end(): Promise<void>;
}

/** What of Deno is used. */
interface Processes {
  readonly build: { readonly standalone?: boolean };
  execPath(): string;
  readonly Command: new (command: string, options: object) => {
    spawn(): {
      readonly stdin: WritableStream<Uint8Array>;
      readonly stdout: ReadableStream<Uint8Array>;
      readonly status: Promise<unknown>;
      kill(signal: "SIGKILL"): void;
    };
  };
}

/**
 * Starts a module, given as text; what it imports is fetched. Of a worker this
 * differs in that it can be ended: Deno's workers run on where they are in a loop.
 *
 * @throws {UsageError} where Deno may not be run, or is not what runs
 */
export function startProgram(text: string): Program {
  const { Deno: deno } = globalThis as { readonly Deno?: Processes };
  if (!deno) {
    throw new UsageError(
      "Cannot start a process without permissions: only Deno has them",
    );
  }
  const url = `data:text/javascript,${encodeURIComponent(text)}`;
  const command = deno.build.standalone ? "deno" : deno.execPath();
  try {
    const child = new deno.Command(command, {
      args: [
        "run",
        "--no-prompt",
        "--no-config",
        "--no-lock",
        "--unstable-raw-imports",
        "--location=https://localhost/",
        url,
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    return running(child);
  } catch (cause) {
    throw new UsageError(
      `Cannot start ${command}, without permissions: ${
        (cause as Error).message
      }`,
      { cause },
    );
  }
}

function running(
  child: ReturnType<InstanceType<Processes["Command"]>["spawn"]>,
): Program {
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  let held: Uint8Array = new Uint8Array();
  return {
    write: (bytes) => writer.write(bytes).catch(() => {}),
    async readByte() {
      while (held.length === 0) {
        const { value, done } = await reader.read();
        if (done) return undefined;
        held = value;
      }
      const [byte] = held;
      held = held.subarray(1);
      return byte;
    },
    async end() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
      await writer.abort().catch(() => {});
      await reader.cancel().catch(() => {});
    },
  };
}
