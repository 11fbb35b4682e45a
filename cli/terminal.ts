/**
 * Standard output, which holds results alone, and standard error, which holds
 * everything else.
 *
 * @module
 */
import { CulmError } from "../mod.ts";
import { formatBytes, formatDuration, formatSystemError } from "./format.ts";

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
  if (Deno.stdout.isTerminal()) drawn?.[Symbol.dispose]();
  let rest = typeof content === "string" ? encoder.encode(content) : content;
  try {
    while (rest.length > 0) rest = rest.subarray(await Deno.stdout.write(rest));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed();
    const reason = formatSystemError(error as Error);
    throw new CulmError(`Cannot write to standard output: ${reason}`);
  }
}

/** Writes a line to standard error. A message that nobody can read is lost, and no error. */
export function note(line: string): void {
  drawn?.[Symbol.dispose]();
  writeError(`${line}\n`);
}

/** Writes to standard error as it is. */
export function writeError(text: string): void {
  let rest = encoder.encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(Deno.stderr.writeSync(rest));
  } catch {
    // There is no third stream on which to say that the second one is closed.
  }
}

/** Text of a file or a person as it may be shown in a line: control characters would steer the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, spelled);
}

/** The same for text of several lines: line feeds and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, spelled);
}

function spelled(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** Least time between two states of a bar, in ms. */
const redrawEvery = 80;

/** Erases the row with the cursor, and what is below. */
const eraseBelow = "\r\x1b[J";

/** The bar on the screen, which gives way to lines. */
let drawn: ProgressBar | undefined;

/** A bar on standard error that shows how far something has come, how fast and how long it will take; nothing where that is no terminal. */
export class ProgressBar implements Disposable {
  readonly #shown = Deno.stderr.isTerminal();
  readonly #start = performance.now();
  #drawnAt = -Infinity;

  /** `label` stands before the bar, `before` units were done earlier. */
  constructor(
    readonly label: string,
    readonly unit:
      | "bytes"
      | "chunks"
      | "layers"
      | "questions"
      | "requests"
      | "tokens",
    readonly before = 0,
  ) {}

  /** Shows `done` of `total` units, with a text of what is being done. */
  update(done: number, total: number, text = ""): void {
    const now = performance.now();
    if (!this.#shown || (now - this.#drawnAt < redrawEvery && done < total)) {
      return;
    }
    this.#drawnAt = now;
    const width = 20;
    const filled = total > 0 ? Math.floor(width * done / total) : width;
    const bar = "=".repeat(filled).padEnd(width);
    const seconds = (now - this.#start) / 1000;
    const progress = progressText(this, done, total, seconds);
    const line = `${this.label} [${bar}] ${text}${progress}`;
    // From its beginning, where the cursor waits, a row is erased whole, also
    // one that a window which is narrower now has broken up.
    writeError(`${eraseBelow}${cutTo(line, screenSize().columns - 1)}\r`);
    drawn = this;
  }

  /** Takes the bar away, until it is drawn again. */
  [Symbol.dispose](): void {
    if (drawn !== this) return;
    drawn = undefined;
    writeError(eraseBelow);
  }
}

/** The terminal's size; a VT100's where it does not say. */
export function screenSize(): { columns: number; rows: number } {
  let columns = 0, rows = 0;
  try {
    ({ columns, rows } = Deno.consoleSize());
  } catch {
    // It has gone away.
  }
  return { columns: columns || 80, rows: rows || 24 };
}

/**
 * As much of a text as surely fits into so many columns: characters beyond ASCII
 * count as two. (What knows them all takes some 17 ms to load.)
 */
function cutTo(text: string, columns: number): string {
  let shown = "", width = 0;
  for (const character of text) {
    width += character > "~" ? 2 : 1;
    if (width > columns) break;
    shown += character;
  }
  return shown;
}

/** `3.1 MiB of 8 MiB, 410 MiB/s, 12s left`, or `5 of 90 tokens, 12.3/s, 7s left`. */
export function progressText(
  { unit, before }: Pick<ProgressBar, "unit" | "before">,
  done: number,
  total: number,
  seconds: number,
): string {
  const isBytes = unit === "bytes";
  const rate = (done - before) / seconds;
  const parts = isBytes
    ? [`${formatBytes(done)} of ${formatBytes(total)}`]
    : [`${done} of ${total} ${unit}`];
  if (rate > 0 && Number.isFinite(rate)) {
    const each = isBytes ? formatBytes(rate) : rate.toPrecision(3);
    const left = formatDuration(1000 * Math.max(0, total - done) / rate);
    parts.push(`${each}/s`, `${left} left`);
  }
  return parts.join(", ");
}
