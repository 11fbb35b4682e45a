/** Text files that go with a message. */
import { button, byId, make, notice, say } from "./dom.js";

/** Bytes of one file, and of all files of a message: a context holds little more. */
export const fileLimit = 256 * 1024, messageLimit = 1024 * 1024;

/** The files that are attached to the message that is being written. */
export class Attachments {
  #files = [];

  get files() {
    return this.#files;
  }

  set files(files) {
    this.#files = [...files];
    this.#show();
  }

  /** Attaches files as far as they are texts, and says why others are not. */
  async add(files) {
    const refused = [];
    for (const file of files) {
      const why = await this.#take(file);
      if (why) refused.push(`${file.name}: ${why}`);
    }
    notice(refused.length > 0 ? `Not attached. ${refused.join("; ")}` : "", {
      kind: "attachments",
    });
    this.#show();
    say(`${this.#files.length} files attached`);
  }

  async #take(file) {
    const all = this.#files.reduce((sum, { size }) => sum + size, file.size);
    if (file.size > fileLimit) {
      return `it has ${sizeOf(file.size)}, a file may have ${
        sizeOf(fileLimit)
      }`;
    }
    if (all > messageLimit) {
      return `all files have ${sizeOf(all)}, those of a message may have ${
        sizeOf(messageLimit)
      }`;
    }
    try {
      const bytes = await file.arrayBuffer();
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      if (text.includes("\0")) return "it is no text";
      this.#files.push({ name: file.name, size: file.size, text });
    } catch {
      return "it is no text in UTF-8";
    }
  }

  #show() {
    byId("attached").replaceChildren(
      ...this.#files.map((file) =>
        make(
          "li",
          {},
          `${file.name}, ${sizeOf(file.size)} `,
          button("Remove", () => {
            this.files = this.#files.filter((other) => other !== file);
            byId("attach").focus();
          }, { label: `Remove ${file.name}` }),
        )
      ),
    );
  }
}

/** Bytes for people. */
export function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const kib = bytes / 1024;
  return kib < 1024
    ? `${kib.toFixed(1)} KiB`
    : `${(kib / 1024).toFixed(1)} MiB`;
}

/** What the model reads: each file between fences that it does not have itself, then the text. */
export function contentWith(files = [], text) {
  const parts = files.map(({ name, text }) => {
    const longest = Math.max(
      2,
      ...Array.from(text.matchAll(/`+/g), ([ticks]) => ticks.length),
    );
    const fence = "`".repeat(longest + 1);
    return `${name}:\n${fence}\n${text}\n${fence}\n\n`;
  });
  return parts.join("") + text;
}
