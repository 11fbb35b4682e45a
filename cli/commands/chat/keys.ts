/**
 * What a terminal sends, as keys.
 *
 * @module
 */

/** Sent to a terminal, so that it says where pasted text begins and ends. */
export const pasteMode = { on: "\x1b[?2004h", off: "\x1b[?2004l" } as const;

/** Keys that write nothing by themselves. */
export type KeyName =
  | "enter"
  | "newline"
  | "interrupt"
  | "end-of-input"
  | "left"
  | "right"
  | "up"
  | "down"
  | "home"
  | "end"
  | "word-left"
  | "word-right"
  | "backspace"
  | "delete"
  | "kill-to-start"
  | "kill-to-end"
  | "kill-word"
  | "kill-next-word"
  | "yank"
  | "redraw"
  | "older"
  | "newer";

/** Sent to a terminal, so that it says where its cursor is. */
export const cursorQuery = "\x1b[6n";

/** What it says then: the cursor's column, from 1. */
export interface CursorReport {
  readonly cursorColumn: number;
}

/** A key with a name, or text that was typed or pasted: printable characters, line feeds and tabs. */
export type Key = KeyName | { readonly text: string };

/** Of Ctrl and a letter, and the characters that other keys send. */
const controls: Readonly<Record<string, KeyName>> = {
  "\x01": "home",
  "\x02": "left",
  "\x03": "interrupt",
  "\x04": "end-of-input",
  "\x05": "end",
  "\x06": "right",
  "\x08": "backspace",
  "\n": "enter",
  "\x0b": "kill-to-end",
  "\x0c": "redraw",
  "\r": "enter",
  "\x0e": "newer",
  "\x10": "older",
  "\x15": "kill-to-start",
  "\x17": "kill-word",
  "\x19": "yank",
  "\x7f": "backspace",
};

/** Behind ESC: Alt with a character, or what xterm and its kin send for keys. */
const sequences: Readonly<Record<string, KeyName>> = {
  "\r": "newline",
  "\n": "newline",
  "\x7f": "kill-word",
  "\x08": "kill-word",
  b: "word-left",
  f: "word-right",
  d: "kill-next-word",
  "[A": "up",
  "[B": "down",
  "[C": "right",
  "[D": "left",
  "[F": "end",
  "[H": "home",
  "OA": "up",
  "OB": "down",
  "OC": "right",
  "OD": "left",
  "OF": "end",
  "OH": "home",
  "[1~": "home",
  "[7~": "home",
  "[3~": "delete",
  "[4~": "end",
  "[8~": "end",
  "[1;3C": "word-right",
  "[1;3D": "word-left",
  "[1;5C": "word-right",
  "[1;5D": "word-left",
  "[3;5~": "kill-next-word",
};

const pasteStart = "\x1b[200~", pasteEnd = "\x1b[201~";

/** What belongs to an ESC: ECMA-48's control sequences, SS3 and a character, or a character with Alt. */
const sequence = /^(\[[0-?]*[ -/]*[@-~]|O.|[^[O])/su;
/** A beginning of one, of which more must come. */
const incomplete = /^(\[[0-?]*[ -/]*|O)?$/;

/** Takes what a terminal sends, cut anywhere, and gives keys. */
export class KeyReader {
  #held = "";

  /** The keys that are complete with `chunk`. */
  push(chunk: string): (Key | CursorReport)[] {
    this.#held += chunk;
    const keys: (Key | CursorReport)[] = [];
    while (this.#held !== "") {
      const taken = this.#take();
      if (taken === undefined) break;
      this.#held = this.#held.slice(taken.length);
      if (taken.key !== undefined) keys.push(taken.key);
    }
    return keys;
  }

  /** The next key and how much of what is held makes it; none, where more must come. */
  #take(): { length: number; key?: Key | CursorReport } | undefined {
    const held = this.#held;
    if (held.startsWith(pasteStart)) {
      const end = held.indexOf(pasteEnd);
      return end < 0 ? undefined : {
        length: end + pasteEnd.length,
        key: { text: plainText(held.slice(pasteStart.length, end)) },
      };
    }
    if (held[0] === "\x1b") {
      const behind = held.slice(1);
      if (incomplete.test(behind)) return undefined;
      // Where another ESC comes first, this one stands alone.
      const [name] = behind[0] === "\x1b"
        ? [""]
        : behind.match(sequence) ?? [""];
      const [, column] = name.match(/^\[\d+;(\d+)R$/) ?? [];
      const key = column === undefined
        ? sequences[name]
        : { cursorColumn: Number(column) };
      return { length: 1 + name.length, key };
    }
    const [text] = held.match(/^[\P{Cc}\t]*/u)!;
    if (text === "") return { length: 1, key: controls[held[0]] };
    return { length: text.length, key: { text } };
  }
}

/** What was pasted, with line feeds alone between lines, and nothing that would steer a terminal. */
function plainText(pasted: string): string {
  return pasted.replace(/\r\n?/g, "\n").replace(/[^\P{Cc}\n\t]/gu, "");
}
