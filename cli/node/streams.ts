/** Deno's standard streams, of Node's. */
import { Readable } from "node:stream";
import tty from "node:tty";
import { later } from "./errors.ts";

const { stdin, stdout, stderr } = process;

/** Writes that fail tell so themselves. */
function ignoreErrors(): void {
  stdout.on("error", () => {});
  stderr.on("error", () => {});
}

/** What came, and was not asked for yet. */
let rest = Buffer.alloc(0);

async function read(bytes: Uint8Array): Promise<number | null> {
  while (rest.length === 0) {
    rest = stdin.read() ?? rest;
    if (rest.length > 0) break;
    if (stdin.readableEnded || stdin.destroyed) return null;
    const { promise, resolve } = Promise.withResolvers<void>();
    const events = ["readable", "end", "close", "error"] as const;
    for (const event of events) stdin.once(event, () => resolve());
    await promise;
  }
  const chunk = rest.subarray(0, bytes.length);
  bytes.set(chunk);
  rest = rest.subarray(chunk.length);
  return chunk.length;
}

function write(bytes: Uint8Array): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  stdout.write(
    bytes,
    (error) => error ? reject(error) : resolve(bytes.length),
  );
  return later(promise);
}

ignoreErrors();

export const streams = {
  stdin: {
    isTerminal: () => tty.isatty(0),
    setRaw: (isRaw: boolean) => void stdin.setRawMode(isRaw),
    read,
    get readable() {
      return Readable.toWeb(stdin) as ReadableStream<Uint8Array<ArrayBuffer>>;
    },
  },
  stdout: {
    isTerminal: () => tty.isatty(1),
    write,
    writeSync: (bytes: Uint8Array) => {
      stdout.write(bytes);
      return bytes.length;
    },
  },
  stderr: {
    isTerminal: () => tty.isatty(2),
    writeSync: (bytes: Uint8Array) => {
      stderr.write(bytes);
      return bytes.length;
    },
  },
  consoleSize: () => {
    const { columns, rows } = tty.isatty(1) ? stdout : stderr;
    return { columns, rows };
  },
};
