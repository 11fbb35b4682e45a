/**
 * Draws a message over what was drawn of it before.
 *
 * @module
 */
// @ts-types="../../../src/std/colors.d.ts"
import { green } from "@std/fmt/colors";
import widthOf from "string-width";
import type { Layout } from "./line_layout.ts";

/** What a terminal shows of a message. The cursor is in it, and nothing is below. */
export class LineScreen {
  #drawn: Layout = { rows: [""], row: 0, column: 0 };
  /** Rows of the screen above the one with the cursor. */
  #above = 0;

  /** What makes a terminal show `layout` in place of what it shows. */
  draw(layout: Layout): string {
    const top = this.#top();
    this.#drawn = layout;
    this.#above = layout.row;
    const { rows, row, column } = layout;
    return top + "\x1b[J" + rows.map((text) => green(text)).join("\r\n") +
      up(rows.length - 1 - row) + "\r" + right(column);
  }

  /** What makes a terminal show all of a message, and puts the cursor below it, for other text. */
  finish(layout: Layout): string {
    const end = this.draw({ ...layout, row: layout.rows.length - 1 });
    this.leave();
    return `${end}\r\n`;
  }

  /** Takes note that the cursor is at the beginning of a row with nothing below. */
  leave(): void {
    this.#drawn = { rows: [""], row: 0, column: 0 };
    this.#above = 0;
  }

  /** Whether the cursor is where a screen of so many columns has none. */
  isBeyond(columns: number): boolean {
    return this.#drawn.column > columns;
  }

  /**
   * Takes note that the screen has so many columns now: rows that are too long
   * have been broken up. Some terminals (xterm.js) cut the cursor's row off
   * instead. Which, its column says, from 1; at the edge it may be either, and
   * what is above stays.
   */
  resize(columns: number, cursorColumn?: number): void {
    const { rows, row, column } = this.#drawn;
    // Behind a row that is full just now the cursor stays in it.
    const above = Math.floor(Math.max(0, column - 1) / columns);
    const isCut = cursorColumn !== undefined && cursorColumn === columns;
    this.#above = isCut ? 0 : above;
    for (const text of rows.slice(0, row)) {
      this.#above += Math.max(1, Math.ceil(widthOf(text) / columns));
    }
  }

  #top(): string {
    return `${up(this.#above)}\r`;
  }
}

function up(rows: number): string {
  return rows > 0 ? `\x1b[${rows}A` : "";
}

function right(columns: number): string {
  return columns > 0 ? `\x1b[${columns}C` : "";
}
