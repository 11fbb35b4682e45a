import { TokenizerError } from "../errors.ts";
import type { TokenType, Vocabulary } from "./vocabulary.ts";

/** Longest text of a token that is taken whole, in UTF-16 units. Real ones stay below 100. */
const MAX_LENGTH = 512;

/** A stretch of plain text, or the id of a token that was spelled out. */
export type Fragment = string | number;

interface Node {
  id?: number;
  readonly children: Map<string, Node>;
}

/** Finds tokens that are taken whole, before the rest of the text is merged. */
export class TokenFinder {
  readonly #root: Node = { children: new Map() };

  /**
   * Takes pairs of a text that is not empty and its id.
   *
   * @throws {TokenizerError} A text is longer than 512 UTF-16 units.
   */
  constructor(tokens: Iterable<readonly [text: string, id: number]>) {
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
    if (this.#root.children.size === 0) return text === "" ? [] : [text];
    const fragments: Fragment[] = [];
    let start = 0;
    let at = 0;
    while (at < text.length) {
      const match = this.#longestAt(text, at);
      if (!match) {
        at++;
        continue;
      }
      if (at > start) fragments.push(text.slice(start, at));
      fragments.push(match.id);
      start = at = match.end;
    }
    if (start < text.length) fragments.push(text.slice(start));
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

/** Finds the tokens of some types. */
export function finderOf(
  vocabulary: Vocabulary,
  ...types: TokenType[]
): TokenFinder {
  return new TokenFinder(
    vocabulary.idsOf(...types).map((id) => [vocabulary.tokens[id], id]),
  );
}
