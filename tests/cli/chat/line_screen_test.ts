/** What is drawn, as a terminal shows it: xterm.js, without a window. */
import xterm from "@xterm/headless";
import assert from "node:assert/strict";
import fc from "fast-check";
import { edit, newMessage } from "../../../cli/commands/chat/line_editor.ts";
import {
  type Layout,
  layOut,
  visiblePart,
} from "../../../cli/commands/chat/line_layout.ts";
import { LineScreen } from "../../../cli/commands/chat/line_screen.ts";
import { keys, text } from "./keys_arbitrary.ts";

function terminal(cols: number, rows: number): xterm.Terminal {
  return new xterm.Terminal({ cols, rows, allowProposedApi: true });
}

function write(terminal: xterm.Terminal, text: string): Promise<void> {
  return new Promise((resolve) => terminal.write(text, resolve));
}

/** The rows that hold something, those that went off the screen too, and the cursor's place in them. */
function shown({ buffer: { active } }: xterm.Terminal) {
  const rows = Array.from(
    { length: active.length },
    (_, i) => active.getLine(i)!.translateToString(true).trimEnd(),
  );
  const row = active.baseY + active.cursorY;
  while (rows.length > row + 1 && rows.at(-1) === "") rows.pop();
  return { rows, row, column: active.cursorX };
}

/** A layout behind other rows, as a terminal shows it: without blanks at the ends of rows. */
function expected(layout: Layout, above: readonly string[]) {
  const rows = [...above, ...layout.rows.map((row) => row.trimEnd())];
  const row = above.length + layout.row;
  while (rows.length > row + 1 && rows.at(-1) === "") rows.pop();
  return { rows, row, column: layout.column };
}

Deno.test("a message lies in rows, with wide characters whole", () => {
  assert.deepEqual(layOut("abc日本\nd", 8, 6), {
    rows: ["> abc", "日本", "  d"],
    row: 2,
    column: 3,
  });
  // A row that is full has another behind it, where the cursor stands.
  assert.deepEqual(layOut("abcd", 4, 6), {
    rows: ["> abcd", ""],
    row: 1,
    column: 0,
  });
});

Deno.test("of a message longer than the screen, the rows around the cursor are shown", () => {
  const layout = layOut("a\nb\nc\nd", 3, 20);
  assert.deepEqual(visiblePart(layout, 2), {
    rows: ["> a", "  b"],
    row: 1,
    column: 3,
  });
});

Deno.test("a terminal shows what was typed, and its cursor is where the next character goes", async () => {
  const size = fc.record({
    columns: fc.integer({ min: 6, max: 30 }),
    rows: fc.integer({ min: 2, max: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(keys, size, async (keys, { columns, rows }) => {
      const given = terminal(columns, rows);
      await write(given, "before\r\n");
      const screen = new LineScreen();
      let state = newMessage(["an earlier\nmessage"]);
      for (const key of keys) {
        state = edit(state, key);
        const layout = layOut(state.text, state.cursor, columns);
        const part = visiblePart(layout, rows);
        await write(given, screen.draw(part));
        const now = shown(given);
        const above = now.rows.slice(0, now.row - part.row);
        assert.equal(above[0], "before");
        assert.deepEqual(now, expected(part, above));
      }
      given.dispose();
    }),
    { numRuns: 50 },
  );
});

Deno.test("a terminal that changes its width shows a message once", async () => {
  const widths = fc.array(fc.integer({ min: 6, max: 40 }), {
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(
      text,
      widths,
      fc.boolean(),
      async (lines, widths, isIn) => {
        // xterm.js leaves the cursor's row as it is, where others break it up.
        const text = isIn ? lines : `${lines}\n`;
        const given = terminal(40, 60);
        await write(given, "before\r\n");
        const screen = new LineScreen();
        await write(given, screen.draw(layOut(text, text.length, 40)));
        for (const columns of widths) {
          given.resize(columns, 60);
          screen.resize(columns, given.buffer.active.cursorX + 1);
          const layout = layOut(text, text.length, columns);
          await write(given, screen.draw(layout));
          assert.deepEqual(shown(given), expected(layout, ["before"]));
        }
        given.dispose();
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("where the cursor is says whether the terminal broke its row up", async () => {
  const above = async (cursorColumn?: number) => {
    const screen = new LineScreen();
    screen.draw(layOut("a".repeat(33), 33, 40));
    screen.resize(20, cursorColumn);
    const given = terminal(20, 4);
    await write(given, `1\r\n2\r\n3\r\n${screen.draw(layOut("", 0, 20))}`);
    return shown(given).rows.length;
  };
  assert.equal(
    await above(16),
    3,
    "broken up: the row above was the message's",
  );
  assert.equal(await above(20), 4, "cut off: it was not");
  assert.equal(await above(), 3, "not said: most terminals break rows up");
});

Deno.test("a message that was sent is shown whole, with the cursor below", async () => {
  const given = terminal(20, 4);
  const screen = new LineScreen();
  const layout = layOut("1\n2\n3\n4\n5\n6", 0, 20);
  await write(given, screen.draw(visiblePart(layout, 4)));
  await write(given, `${screen.finish(layout)}answer`);
  assert.deepEqual(shown(given).rows, [
    "> 1",
    "  2",
    "  3",
    "  4",
    "  5",
    "  6",
    "answer",
  ]);
});
