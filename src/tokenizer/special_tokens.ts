import { TokenizerError } from "../errors.ts";
import type { AddedTokenRules } from "./text_rules.ts";

/** Longest text of a token that is taken whole, in UTF-16 units. Real ones stay below 100. */
const MAX_LENGTH = 512;

/** A stretch of plain text with the offset where it begins, or the id of a token that was spelled out. */
export type Fragment = { readonly text: string; readonly at: number } | number;

interface Node {
  id?: number;
  readonly children: Map<string, Node>;
}

/** How the tokens of a finder are found. */
export type FindRules = Partial<
  Pick<AddedTokenRules, "lstrip" | "rstrip" | "singleWord">
>;

/** Finds tokens that are taken whole, before the rest of the text is merged. */
export class TokenFinder {
  readonly #root: Node = { children: new Map() };

  /**
   * Takes pairs of a text that is not empty and its id.
   *
   * @throws {TokenizerError} A text is longer than 512 UTF-16 units.
   */
  constructor(
    tokens: Iterable<readonly [text: string, id: number]>,
    readonly rules: FindRules = {},
  ) {
    for (const [text, id] of tokens) {
      if (text.length > MAX_LENGTH) {
        throw new TokenizerError(
          `Cannot read token ${id}: it has ${text.length} characters, the limit for special and user-defined tokens is ${MAX_LENGTH}`,
        );
      }
      let node = this.#root;
      for (const unit of text.split("")) {
        let child = node.children.get(unit);
        if (!child) node.children.set(unit, child = { children: new Map() });
        node = child;
      }
      node.id = id;
    }
  }

  /** Cuts a text at the tokens in it: the leftmost first, of those the longest. */
  split(text: string): Fragment[] {
    if (this.#root.children.size === 0) {
      return text === "" ? [] : [{ text, at: 0 }];
    }
    const { lstrip, rstrip, singleWord } = this.rules;
    const fragments: Fragment[] = [];
    let start = 0;
    const cutTo = (end: number) => {
      if (end > start) {
        fragments.push({ text: text.slice(start, end), at: start });
      }
    };
    let at = 0;
    while (at < text.length) {
      const match = this.#longestAt(text, at);
      if (!match) {
        at++;
        continue;
      }
      let { id, end } = match;
      if (singleWord?.has(id) && isInWord(text, at, end)) {
        at = end;
        continue;
      }
      let begin = at;
      if (lstrip?.has(id)) {
        while (begin > start && isSpace(text[begin - 1])) begin--;
      }
      if (rstrip?.has(id)) {
        while (end < text.length && isSpace(text[end])) end++;
      }
      cutTo(begin);
      fragments.push(id);
      start = at = end;
    }
    cutTo(text.length);
    return fragments;
  }

  #longestAt(
    text: string,
    start: number,
  ): { id: number; end: number } | undefined {
    let node: Node | undefined = this.#root;
    let match: { id: number; end: number } | undefined;
    for (let at = start; at < text.length; at++) {
      node = node.children.get(text[at]);
      if (!node) break;
      if (node.id !== undefined) match = { id: node.id, end: at + 1 };
    }
    return match;
  }
}

function isSpace(character: string): boolean {
  return /\p{White_Space}/u.test(character);
}

const letter = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]$/u;

/** Whether a letter stands beside a stretch of a text. */
function isInWord(text: string, begin: number, end: number): boolean {
  // A letter may be two UTF-16 units.
  const before = Array.from(text.slice(Math.max(0, begin - 2), begin)).at(-1);
  const [after] = text.slice(end, end + 2);
  return letter.test(before ?? "") || letter.test(after ?? "");
}
