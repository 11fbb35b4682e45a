/**
 * Editing a message: (state, key) → state, as Emacs and readline have taught
 * everybody's fingers.
 *
 * @module
 */
import type { Key, KeyName } from "./keys.ts";

/** A message being written, and those written before. */
export interface EditorState {
  readonly text: string;
  /** Where the next character goes: an index into `text`, at the edge of a character as people see them. */
  readonly cursor: number;
  /** What Ctrl-K and its like took last, for Ctrl-Y. */
  readonly killed: string;
  /** Earlier messages, oldest first. */
  readonly earlier: readonly string[];
  /** What was made of them by editing, and behind them the one being written. */
  readonly drafts: readonly string[];
  /** Which of the drafts is shown. */
  readonly shown: number;
  /** What the last key asked for, beyond editing. */
  readonly asks?: "submit" | "interrupt" | "leave" | "redraw";
}

/** An empty message, behind earlier ones. */
export function newMessage(
  earlier: readonly string[] = [],
  killed = "",
): EditorState {
  const drafts = [...earlier, ""];
  const shown = earlier.length;
  return { text: "", cursor: 0, killed, earlier, drafts, shown };
}

/** What a key makes of a message. */
export function edit(state: EditorState, key: Key): EditorState {
  const { asks: _, ...settled } = state;
  return typeof key === "string"
    ? edits[key](settled)
    : insert(settled, key.text);
}

/** What is said: `"""` around it falls away, and line feeds that a paste ended with. */
export function messageOf(text: string): string {
  const [, fenced] = text.match(/^\s*"""\n?(.*?)\n?"""\s*$/s) ?? [];
  return fenced ?? text.replace(/\n+$/, "");
}

const edits: Readonly<Record<KeyName, (state: EditorState) => EditorState>> = {
  enter: (state) => {
    const { text, cursor } = state;
    if (text[cursor - 1] === "\\") {
      return insert(remove(state, cursor - 1, cursor), "\n");
    }
    return isOpen(text)
      ? insert(state, "\n")
      : { ...state, cursor: text.length, asks: "submit" };
  },
  newline: (state) => insert(state, "\n"),
  interrupt: (state) =>
    state.text === ""
      ? { ...state, asks: "interrupt" }
      : newMessage(state.earlier, state.killed),
  "end-of-input": (state) =>
    state.text === "" ? { ...state, asks: "leave" } : edits.delete(state),
  redraw: (state) => ({ ...state, asks: "redraw" }),

  left: (state) => at(state, before(state.text, state.cursor)),
  right: (state) => at(state, after(state.text, state.cursor)),
  home: (state) => at(state, lineStart(state.text, state.cursor)),
  end: (state) => at(state, lineEnd(state.text, state.cursor)),
  "word-left": (state) => at(state, wordStart(state.text, state.cursor)),
  "word-right": (state) => at(state, wordEnd(state.text, state.cursor)),
  up: (state) => toLine(state, -1) ?? show(state, state.shown - 1),
  down: (state) => toLine(state, 1) ?? show(state, state.shown + 1),
  older: (state) => show(state, state.shown - 1),
  newer: (state) => show(state, state.shown + 1),

  backspace: (state) =>
    remove(state, before(state.text, state.cursor), state.cursor),
  delete: (state) =>
    remove(state, state.cursor, after(state.text, state.cursor)),
  "kill-to-start": (state) =>
    kill(state, lineStart(state.text, state.cursor), state.cursor),
  "kill-to-end": (state) => {
    const end = lineEnd(state.text, state.cursor);
    // At the end of a line the line feed goes, so that lines can be joined.
    return kill(
      state,
      state.cursor,
      end === state.cursor ? after(state.text, end) : end,
    );
  },
  "kill-word": (state) =>
    kill(state, wordStart(state.text, state.cursor), state.cursor),
  "kill-next-word": (state) =>
    kill(state, state.cursor, wordEnd(state.text, state.cursor)),
  yank: (state) => insert(state, state.killed),
};

/** Whether the message began with `"""` that has not come again. */
function isOpen(text: string): boolean {
  return /^\s*"""(?!.*""")/s.test(text);
}

function at(state: EditorState, cursor: number): EditorState {
  return { ...state, cursor };
}

function insert(state: EditorState, text: string): EditorState {
  const before = state.text.slice(0, state.cursor) + text;
  return settle(state, before + state.text.slice(state.cursor), before.length);
}

function remove(state: EditorState, from: number, to: number): EditorState {
  return settle(state, state.text.slice(0, from) + state.text.slice(to), from);
}

function kill(state: EditorState, from: number, to: number): EditorState {
  if (from === to) return state;
  const killed = state.text.slice(from, to);
  return { ...remove(state, from, to), killed };
}

/** The state with another text, whose cursor is put at the edge of a character: accents may have joined what stood there. */
function settle(state: EditorState, text: string, cursor: number): EditorState {
  return {
    ...state,
    text,
    cursor: cursor === 0
      ? 0
      : charactersOf(text).find(({ end }) => end >= cursor)!.end,
  };
}

/** Shows a message of the history, and remembers what was made of the one shown before. */
function show(state: EditorState, shown: number): EditorState {
  if (shown < 0 || shown >= state.drafts.length) return state;
  const drafts = state.drafts.with(state.shown, state.text);
  const text = drafts[shown];
  return { ...state, text, cursor: text.length, drafts, shown };
}

/** The same place in the line above or below; nothing where there is no such line. */
function toLine(state: EditorState, step: -1 | 1): EditorState | undefined {
  const { text, cursor } = state;
  const start = lineStart(text, cursor), end = lineEnd(text, cursor);
  if (step < 0 ? start === 0 : end === text.length) return undefined;
  const target = step < 0 ? lineStart(text, start - 1) : end + 1;
  const line = charactersOf(text.slice(target, lineEnd(text, target)));
  const column = charactersOf(text.slice(start, cursor)).length;
  const last = line[Math.min(column, line.length) - 1];
  return at(state, target + (last?.end ?? 0));
}

function lineStart(text: string, cursor: number): number {
  return cursor === 0 ? 0 : text.lastIndexOf("\n", cursor - 1) + 1;
}

function lineEnd(text: string, cursor: number): number {
  const end = text.indexOf("\n", cursor);
  return end < 0 ? text.length : end;
}

function before(text: string, cursor: number): number {
  return charactersOf(text.slice(0, cursor)).at(-1)?.start ?? 0;
}

function after(text: string, cursor: number): number {
  return cursor + (charactersOf(text.slice(cursor))[0]?.end ?? 0);
}

function wordStart(text: string, cursor: number): number {
  const past = text.slice(0, cursor);
  return past.length -
    past.match(/[\p{L}\p{M}\p{N}_]*[^\p{L}\p{M}\p{N}_]*$/u)![0].length;
}

function wordEnd(text: string, cursor: number): number {
  const rest = text.slice(cursor);
  return cursor +
    rest.match(/^[^\p{L}\p{M}\p{N}_]*[\p{L}\p{M}\p{N}_]*/u)![0].length;
}

/** A character as people see one, with its accents and joined parts. */
export interface Character {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The characters of a text. */
export function charactersOf(text: string): Character[] {
  return Array.from(segmenter.segment(text), ({ segment, index }) => ({
    text: segment,
    start: index,
    end: index + segment.length,
  }));
}
