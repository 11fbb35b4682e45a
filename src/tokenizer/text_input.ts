/** Reads text that comes in pieces: yields where it needs the next one. */
export type Reading<T> = Generator<undefined, T, void>;

/** Text that comes in pieces, as one to read on in, and to go back in. */
export class TextInput {
  /** What has come, and was not dropped */
  text = "";
  /** What was read, in UTF-16 units of `text` */
  at = 0;
  /** Whether nothing comes any more */
  ended = false;

  /** Forgets what was read, so that none of it is read again. */
  drop(): void {
    this.text = this.text.slice(this.at);
    this.at = 0;
  }

  /** The next character, which is not read yet; undefined at the end. */
  *peek(): Reading<string | undefined> {
    while (this.at >= this.text.length) {
      if (this.ended) return undefined;
      yield;
    }
    return this.text[this.at];
  }

  /** Reads white space. */
  *skipSpace(): Reading<void> {
    for (let next; (next = yield* this.peek()) !== undefined; this.at++) {
      if (!/\s/.test(next)) return;
    }
  }

  /** Reads these characters, where they come next; waits only while they may. */
  *literal(characters: string): Reading<boolean> {
    let length = 0;
    while (length < characters.length) {
      const isHere = this.at + length < this.text.length;
      if (!isHere && this.ended) return false;
      if (!isHere) yield;
      else if (this.text[this.at + length] === characters[length]) length++;
      else return false;
    }
    this.at += length;
    return true;
  }

  /** Reads characters up to one of these; what was read, at the end too. */
  *until(end: RegExp): Reading<string> {
    const start = this.at;
    for (let next; (next = yield* this.peek()) !== undefined; this.at++) {
      if (end.test(next)) break;
    }
    return this.text.slice(start, this.at);
  }

  /** How many of the characters behind `from` may be the beginning of one of these texts. */
  unsure(texts: readonly string[], from = this.at): number {
    let longest = 0;
    for (const text of texts) {
      const most = Math.min(text.length - 1, this.text.length - from);
      for (let length = most; length > longest; length--) {
        if (this.text.endsWith(text.slice(0, length))) longest = length;
      }
    }
    return longest;
  }

  /** Where the first of these texts begins, and which it is, the longest of those that begin there. */
  find(
    texts: readonly string[],
  ): { at: number; text: string } | undefined {
    let first: { at: number; text: string } | undefined;
    for (const text of texts) {
      const at = this.text.indexOf(text, this.at);
      const isFirst = !first || at < first.at ||
        at === first.at && text.length > first.text.length;
      if (at >= 0 && isFirst) first = { at, text };
    }
    return first;
  }
}
