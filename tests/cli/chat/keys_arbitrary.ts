/** Keys that somebody may press, for property tests. */
import fc from "fast-check";
import type { Key } from "../../../cli/commands/chat/keys.ts";

/** Narrow, wide and joined characters, lines and tabs. */
export const text: fc.Arbitrary<string> = fc.string({
  unit: fc.constantFrom("a", "b", " ", "é", "e\u0301", "日", "本", "\t", "\n"),
  maxLength: 40,
});

const named = fc.constantFrom<Key>(
  "enter",
  "newline",
  "interrupt",
  "left",
  "right",
  "up",
  "down",
  "home",
  "end",
  "word-left",
  "word-right",
  "backspace",
  "delete",
  "kill-to-start",
  "kill-to-end",
  "kill-word",
  "kill-next-word",
  "yank",
  "older",
  "newer",
);

/** One after another. */
export const keys: fc.Arbitrary<Key[]> = fc.array(
  fc.oneof(text.map((text) => ({ text })), named),
  { maxLength: 30 },
);
