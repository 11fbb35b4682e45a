/** A log of requests: lines of JSON, or short ones for people. */
import { CulmError } from "../../mod.ts";
import type { RequestEntry } from "../../server.ts";
import { formatSystemError } from "../format.ts";

/** Bytes that wait to be written; what comes while there are more is lost. */
const mostWaiting = 1 << 22;

const encoder = new TextEncoder();

/** Writes all of some bytes. */
type WriteAll = (bytes: Uint8Array) => Promise<void>;

/** Lines of JSON, one for each request. What cannot be written is lost: the server goes on, and says so once. */
export class RequestLog implements AsyncDisposable {
  #waiting = "";
  #writing?: Promise<void>;
  #hasFailed = false;
  /** Whether a line may have been written in part */
  #isTorn = false;

  /** `say` tells people what is wrong with the log of that name. */
  constructor(
    readonly name: string,
    readonly write: WriteAll,
    readonly say: (message: string) => void,
  ) {}

  /** Writes a line, soon. */
  add(entry: RequestEntry): void {
    if (this.#waiting.length > mostWaiting) {
      this.#fail("it takes lines too slowly");
      return;
    }
    this.#waiting += `${jsonLine(entry)}\n`;
    this.#writing ??= this.#writeAll().finally(() => this.#writing = undefined);
  }

  /** Writes what still waits. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting !== "") {
      const lines = `${this.#isTorn ? "\n" : ""}${this.#waiting}`;
      this.#waiting = "";
      try {
        await this.write(encoder.encode(lines));
        this.#isTorn = false;
      } catch (error) {
        this.#isTorn = true;
        this.#fail(formatSystemError(error as Error));
      }
    }
  }

  #fail(why: string): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.say(
      `warning: Cannot write ${this.name}: ${why}; the server goes on, and lines are lost`,
    );
  }
}

/** A request as JSON, without characters that would steer a terminal. */
export function jsonLine(entry: RequestEntry): string {
  return JSON.stringify(entry).replace(
    /\p{Cc}/gu,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What is asked for all the time, and says nothing where it goes well: signs of life, lists, the page's files. */
const usual = /^(\/|(\/v1)?\/(health|models)|\/(props|metrics)|\/assets\/.*)$/;

/** A request in a line for people, unless it is one of those that come all the time. */
export function shortLine(
  { method, path, status, ...entry }: RequestEntry,
): string | undefined {
  if (status < 400 && usual.test(path)) return undefined;
  const { prompt_tokens, generated_tokens = 0, error, finish_reason } = entry;
  const words = [
    `${method} ${path} ${status}`,
    prompt_tokens !== undefined &&
    `${prompt_tokens} + ${generated_tokens} tokens`,
    `${Math.round(entry.total_ms)} ms`,
    error ?? finish_reason,
  ];
  return words.filter((word) => word).join(", ");
}

/** A file that lines are added to. */
export interface LogFile extends Disposable {
  readonly write: WriteAll;
}

/**
 * Opens a file behind whose end lines are written; it is made where it is not there.
 *
 * @throws {CulmError} where it cannot be written
 */
export async function openLogFile(path: string): Promise<LogFile> {
  try {
    const file = await Deno.open(path, { append: true, create: true });
    return {
      async write(bytes) {
        for (let rest = bytes; rest.length > 0;) {
          rest = rest.subarray(await file.write(rest));
        }
      },
      [Symbol.dispose]: () => file.close(),
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CulmError(
      `Cannot write --log-file ${path}: ${formatSystemError(error as Error)}`,
    );
  }
}
