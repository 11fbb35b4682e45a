/** Finds where a JSON value ends, character by character, so that it may come in pieces. */
export class JsonExtent {
  #closers: string[] = [];
  #inText = false;
  #escaped = false;
  #begun = false;
  #isScalar = false;

  /**
   * Where the value that begins at `start` ends; undefined where it does not,
   * or is none.
   */
  static endOf(text: string, start: number): number | undefined {
    const extent = new JsonExtent();
    for (let at = start; at < text.length; at++) {
      const verdict = extent.push(text[at]);
      if (verdict === "wrong") return undefined;
      if (verdict === "ended") return at + 1;
      if (verdict === "before") return at;
    }
    return undefined;
  }

  /**
   * Takes the next character: `inside` the value, the one that `ended` it, the
   * one that the value stands `before`, as behind numbers, or `wrong`.
   */
  push(character: string): "inside" | "ended" | "before" | "wrong" {
    if (this.#inText) {
      if (this.#escaped) this.#escaped = false;
      else if (character === "\\") this.#escaped = true;
      else if (character === '"') {
        this.#inText = false;
        if (this.#closers.length === 0) return "ended";
      }
      return "inside";
    }
    if (this.#isScalar) {
      return /[\w.+-]/.test(character) ? "inside" : "before";
    }
    if (!this.#begun) {
      if (!/[[{"\w-]/.test(character)) return "wrong";
      this.#begun = true;
      this.#isScalar = /[\w-]/.test(character);
    }
    if (character === '"') this.#inText = true;
    else if (character === "{") this.#closers.push("}");
    else if (character === "[") this.#closers.push("]");
    else if (character === "}" || character === "]") {
      if (this.#closers.pop() !== character) return "wrong";
      if (this.#closers.length === 0) return "ended";
    }
    return "inside";
  }
}
