/**
 * Standard output, which holds results alone, and standard error, which holds
 * everything else.
 *
 * @module
 */
import { CulmError } from "../mod.ts";

/** The reader of standard output has gone, as `head` does: no error. */
export class OutputClosed extends Error {}

const encoder = new TextEncoder();

/**
 * Writes to standard output.
 *
 * @throws {OutputClosed} where its reader has gone
 * @throws {CulmError} where it cannot be written, because the disk is full for instance
 */
export async function write(content: string | Uint8Array): Promise<void> {
  let rest = typeof content === "string" ? encoder.encode(content) : content;
  try {
    while (rest.length > 0) rest = rest.subarray(await Deno.stdout.write(rest));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed();
    const reason = (error as Error).message.replace(/ \(os error \d+\)$/, "");
    throw new CulmError(`Cannot write to standard output: ${reason}`);
  }
}

/** Writes a line to standard error. A message that nobody can read is lost, and no error. */
export function note(line: string): void {
  writeError(`${line}\n`);
}

function writeError(text: string): void {
  let rest = encoder.encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(Deno.stderr.writeSync(rest));
  } catch {
    // There is no third stream on which to say that the second one is closed.
  }
}

/** Text of a file or a person as it may be shown: control characters would steer the terminal. */
export function printable(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (character) =>
      `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** Least time between two states of a bar, in ms. */
const redrawEvery = 80;

/** A bar on standard error that shows how far something has come; nothing where that is no terminal. */
export class ProgressBar implements Disposable {
  readonly #shown = Deno.stderr.isTerminal();
  readonly #label: string;
  #drawnAt = -Infinity;

  /** `label` stands before the bar. */
  constructor(label: string) {
    this.#label = label;
  }

  /** Shows `done` of `total`, with a text after the bar. */
  update(done: number, total: number, text: string): void {
    const now = performance.now();
    if (!this.#shown || (now - this.#drawnAt < redrawEvery && done < total)) {
      return;
    }
    this.#drawnAt = now;
    const width = 30;
    const filled = total > 0 ? Math.floor(width * done / total) : width;
    const bar = "=".repeat(filled).padEnd(width);
    writeError(`\r\x1b[K${this.#label} [${bar}] ${text}`);
  }

  /** Takes the bar away. */
  [Symbol.dispose](): void {
    if (this.#drawnAt > -Infinity) writeError("\r\x1b[K");
    this.#drawnAt = -Infinity;
  }
}
