/** A race on a terminal: a column for each runner. */
// @ts-types="../../../src/std/colors.d.ts"
import { bold, dim, green } from "@std/fmt/colors";
import widthOf from "string-width";
import { printableLines, screenSize, writeError } from "../../terminal.ts";
import { momentOf, type Track } from "./track.ts";

/** Columns between two runners. */
const gap = "  ";
/** Rows for the text; a screen that is lower has less. */
const mostTextRows = 16;
/** Rows above it. */
const headRows = 2;

/** The rows that a race takes of a screen, `ms` after its start: names, rates, and the ends of the texts. */
export function frameOf(
  tracks: readonly Track[],
  ms: number,
  { columns, rows }: { readonly columns: number; readonly rows: number },
): string[] {
  // The last column stays free: a terminal would go on in the next row.
  const room = columns - 1 - gap.length * (tracks.length - 1);
  const width = Math.max(1, Math.floor(room / tracks.length));
  const height = Math.max(1, Math.min(mostTextRows, rows - headRows - 1));
  const columnsOf = tracks.map((track) => {
    const { text, rate, isDone } = momentOf(track, ms);
    const shown = rate === undefined ? "–" : `${rate.toFixed(1)} tokens/s`;
    const lines = wrapped(printableLines(text), width).slice(-height);
    const cells = [bold(fit(track.name, width)), fit(shown, width), ...lines];
    const colour = isDone ? green : dim;
    return cells.map((cell, i) => i === 1 ? colour(cell) : cell);
  });
  const count = Math.max(...columnsOf.map(({ length }) => length));
  return Array.from(
    { length: count },
    (_, row) =>
      columnsOf.map((cells) => cells[row] ?? " ".repeat(width)).join(gap),
  );
}

/** A text as rows of so many columns each, broken between words where these fit, and filled up with blanks. */
function wrapped(text: string, width: number): string[] {
  return text.split("\n").flatMap((line) => {
    const rows: string[] = [];
    let row = "", rowWidth = 0;
    for (const part of partsOf(line.replaceAll("\t", "    "), width)) {
      const needed = widthOf(part);
      if (rowWidth + needed > width) {
        rows.push(fit(row, width));
        row = "";
        rowWidth = 0;
        if (part === " ") continue;
      }
      row += part;
      rowWidth += needed;
    }
    return [...rows, fit(row, width)];
  });
}

/** What is not broken: words, and of those that are wider than a row their characters. */
function partsOf(line: string, width: number): string[] {
  return line.split(/(?<= )|(?= )/).flatMap((word) =>
    widthOf(word) <= width
      ? [word]
      : Array.from(segmenter.segment(word), ({ segment }) => segment)
  );
}

const segmenter = new Intl.Segmenter();

/** A text in so many columns: cut, or filled up with blanks. */
function fit(text: string, width: number): string {
  let cut = "", cutWidth = 0;
  for (const { segment } of segmenter.segment(text)) {
    const needed = widthOf(segment);
    if (cutWidth + needed > width) break;
    cut += segment;
    cutWidth += needed;
  }
  return cut + " ".repeat(width - cutWidth);
}

/** Draws a race over what was drawn of it before, on standard error; nothing where that is no terminal. */
export class RaceScreen {
  /** Whether anybody sees it */
  readonly isShown: boolean = Deno.stderr.isTerminal();
  #rows = 0;

  /** Shows the tracks as they are `ms` after their start. */
  draw(tracks: readonly Track[], ms: number): void {
    if (!this.isShown) return;
    const rows = frameOf(tracks, ms, screenSize());
    this.clear();
    writeError(rows.map((row) => `${row}\n`).join(""));
    this.#rows = rows.length;
  }

  /** Takes away what was drawn. */
  clear(): void {
    if (this.#rows === 0) return;
    writeError(`\r\x1b[${this.#rows}A\x1b[J`);
    this.#rows = 0;
  }
}
