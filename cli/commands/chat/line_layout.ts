/**
 * How a message lies on a screen of so many columns.
 *
 * @module
 */
import widthOf from "string-width";
import { charactersOf } from "./line_editor.ts";

/** What stands before the first line of a message, and before the others. */
export const prompts = { first: "> ", other: "  " } as const;

/** A message as rows of a screen. */
export interface Layout {
  /** Each with its prompt, where a line begins in it. */
  readonly rows: readonly string[];
  /** Where the cursor is. */
  readonly row: number;
  readonly column: number;
}

/** Lays a message out. A row that is full is followed by another, so that the cursor has a place. */
export function layOut(text: string, cursor: number, columns: number): Layout {
  const rows: string[] = [prompts.first];
  let width = prompts.first.length;
  let place = { row: 0, column: width };
  const begin = (row: string) => {
    rows.push(row);
    width = row.length;
  };
  for (const { text: character, end } of charactersOf(text)) {
    if (character === "\n") begin(prompts.other);
    else {
      const shown = shownAs(character);
      const needed = widthOf(shown);
      if (width + needed > columns) begin("");
      rows[rows.length - 1] += shown;
      width += needed;
      if (width >= columns) begin("");
    }
    if (end <= cursor) place = { row: rows.length - 1, column: width };
  }
  return { rows, ...place };
}

/** The rows around the cursor that a screen has room for. */
export function visiblePart(layout: Layout, height: number): Layout {
  const first = Math.max(0, layout.row - height + 1);
  return {
    rows: layout.rows.slice(first, first + height),
    row: layout.row - first,
    column: layout.column,
  };
}

/** A tab is as wide as four blanks wherever it stands. */
function shownAs(character: string): string {
  return character === "\t" ? "    " : character;
}
