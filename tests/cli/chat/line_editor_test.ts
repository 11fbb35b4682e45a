import assert from "node:assert/strict";
import fc from "fast-check";
import type { Key } from "../../../cli/commands/chat/keys.ts";
import {
  charactersOf,
  edit,
  type EditorState,
  messageOf,
  newMessage,
} from "../../../cli/commands/chat/line_editor.ts";
import { keys } from "./keys_arbitrary.ts";

/** What keys make of a message; a text that is no key is typed. */
function typed(
  keys: readonly (Key | string)[],
  earlier: readonly string[] = [],
): EditorState {
  return keys.reduce<EditorState>(
    (state, key) => edit(state, key as Key),
    newMessage(earlier),
  );
}

const say = (text: string) => ({ text });

/** A message with a bar where the cursor is. */
function shown({ text, cursor }: EditorState): string {
  return `${text.slice(0, cursor)}|${text.slice(cursor)}`;
}

Deno.test("keys move and take away as readline's do", () => {
  const cases: [keys: (Key | string)[], shown: string][] = [
    [[say("one two"), "left", "left", "backspace"], "one |wo"],
    [[say("one two"), "home", say("x"), "end", say("y")], "xone twoy|"],
    [[say("one two, three"), "word-left", "word-left"], "one |two, three"],
    [[say("one two"), "home", "word-right", "kill-to-end"], "one|"],
    [[say("one two  "), "kill-word", "home", "yank"], "two  |one "],
    [[say("one two"), "word-left", "kill-to-start"], "|two"],
    [[say("one two"), "home", "kill-next-word"], "| two"],
    [[say("ab"), "left", "end-of-input"], "a|"],
    [[say("日本語"), "left", "delete"], "日本|"],
    [[say("e\u0301x"), "left", "backspace"], "|x"],
    [[say("👨‍👩‍👧!"), "left", "left"], "|👨‍👩‍👧!"],
    [[say("ab\nc"), "up"], "a|b\nc"],
    [[say("abc\nx\nabc"), "up", "up"], "a|bc\nx\nabc"],
    [[say("ab\ncd"), "home", "kill-to-start", "backspace"], "ab|cd"],
    [[say("ab\ncd"), "up", "end", "kill-to-end"], "ab|cd"],
  ];
  for (const [keys, expected] of cases) {
    assert.equal(shown(typed(keys)), expected);
  }
});

Deno.test("Enter sends, but for a backslash, an open fence and Alt", () => {
  const sent = typed([say("one"), "newline", say("two"), "home", "enter"]);
  assert.deepEqual([sent.text, sent.asks], ["one\ntwo", "submit"]);
  const joined = typed([say("one\\"), "enter", say("two")]);
  assert.deepEqual([joined.text, joined.asks], ["one\ntwo", undefined]);
  const open = typed([say('"""one'), "enter", say("two"), "enter"]);
  assert.deepEqual([open.text, open.asks], ['"""one\ntwo\n', undefined]);
  const closed = edit(edit(open, say('"""')), "enter");
  assert.equal(closed.asks, "submit");
  assert.equal(messageOf(closed.text), "one\ntwo");
  assert.equal(messageOf('say """this"""'), 'say """this"""');
  assert.equal(messageOf("a paste\n"), "a paste");
});

Deno.test("Ctrl-C clears a message, and asks for more only where there is none", () => {
  const cleared = typed([say("half a line"), "interrupt"], ["before"]);
  assert.deepEqual(
    [cleared.text, cleared.asks, edit(cleared, "up").text],
    ["", undefined, "before"],
  );
  assert.equal(typed(["interrupt"]).asks, "interrupt");
  assert.equal(typed(["end-of-input"]).asks, "leave");
  assert.equal(typed([say("x"), "end-of-input"]).asks, undefined);
});

Deno.test("Up and Down go through what was said, and back to what is being said", () => {
  const earlier = ["one", "two\nlines"];
  const up = typed([say("new"), "up"], earlier);
  assert.equal(up.text, "two\nlines");
  const first = typed([say("new"), "up", "up", "up"], earlier);
  assert.equal(first.text, "one");
  assert.equal(edit(first, "up").text, "one");
  assert.equal(
    typed([say("new"), "older", "older", "newer", "newer"], earlier).text,
    "new",
  );
  // An earlier message that was changed is itself again once something was sent.
  const changed = typed([say("new"), "older", say("!"), "newer"], earlier);
  assert.equal(edit(changed, "older").text, "two\nlines!");
  assert.equal(
    edit(edit(changed, "interrupt"), "older").text,
    "two\nlines",
  );
});

Deno.test("whatever is pressed, the cursor stays between characters", () => {
  fc.assert(
    fc.property(keys, fc.array(fc.string()), (keys, earlier) => {
      let state = newMessage(earlier);
      for (const key of keys) {
        state = edit(state, key);
        const edges = charactersOf(state.text).map(({ end }) => end);
        assert.ok([0, ...edges].includes(state.cursor), shown(state));
      }
    }),
  );
});

Deno.test("what was typed is what is there, whatever moved in between", () => {
  const moves = fc.constantFrom<Key>("left", "word-left", "home", "up");
  fc.assert(
    fc.property(fc.string(), fc.array(moves), (text, keys) => {
      const state = typed([say(text), ...keys]);
      assert.equal(state.text, text);
      // What is killed on both sides of the cursor comes back.
      const whole = [
        edit(state, "kill-to-start"),
        edit(edit(state, "kill-to-start"), "yank"),
      ];
      assert.equal(whole[1].text, text);
    }),
  );
});
