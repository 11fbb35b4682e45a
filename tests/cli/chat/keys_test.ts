import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CursorReport,
  type Key,
  KeyReader,
} from "../../../cli/commands/chat/keys.ts";

/** The keys of chunks that come one after another, with typed text in one piece however it came. */
function keysOf(...chunks: string[]): (Key | CursorReport)[] {
  const reader = new KeyReader();
  const keys: (Key | CursorReport)[] = [];
  for (const key of chunks.flatMap((chunk) => reader.push(chunk))) {
    const last = keys.at(-1);
    if (isText(key) && isText(last)) {
      keys[keys.length - 1] = { text: last.text + key.text };
    } else keys.push(key);
  }
  return keys;
}

function isText(
  key: Key | CursorReport | undefined,
): key is { readonly text: string } {
  return typeof key === "object" && "text" in key;
}

Deno.test("where the cursor is, is read between keys", () => {
  assert.deepEqual(
    keysOf("a\x1b[12;", "40Rb"),
    [{ text: "a" }, { cursorColumn: 40 }, { text: "b" }],
  );
});

Deno.test("what xterm sends is read as keys", () => {
  assert.deepEqual(
    keysOf("a\x1b[A\x1bOB\x1b[1;5C\x1b[3~\x7f\x17\x01\r\x1bb\x1b\r\x03\x04"),
    [
      { text: "a" },
      "up",
      "down",
      "word-right",
      "delete",
      "backspace",
      "kill-word",
      "home",
      "enter",
      "word-left",
      "newline",
      "interrupt",
      "end-of-input",
    ],
  );
});

Deno.test("a paste is one text, of lines and tabs and nothing that steers a terminal", () => {
  assert.deepEqual(
    new KeyReader().push("\x1b[200~a\r\nb\rc\n\td\x1b[31m\x07\x1b[201~\r"),
    [{ text: "a\nb\nc\n\td[31m" }, "enter"],
  );
});

Deno.test("sequences that mean nothing here write nothing", () => {
  assert.deepEqual(
    keysOf("\x1b[<0;3;4M\x1b[15~\x1b\x1b[A\x1bz\x1b[200;5Hx\x00"),
    ["up", { text: "x" }],
  );
});

Deno.test("a stream of keys is read alike wherever it is cut", () => {
  const piece = fc.constantFrom(
    "a",
    "日",
    "\x1b[A",
    "\x1b[1;5D",
    "\x1bOH",
    "\x1bb",
    "\r",
    "\x03",
    "\x1b[200~one\r\ntwo\x1b[201~",
  );
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, cuts) => {
      const all = pieces.join("");
      const ends = cuts.map((cut) => cut % (all.length + 1)).sort((a, b) =>
        a - b
      );
      const chunks = [...ends, all.length].map((end, i) =>
        all.slice(ends[i - 1] ?? 0, end)
      );
      assert.deepEqual(keysOf(...chunks), keysOf(all));
    }),
  );
});
