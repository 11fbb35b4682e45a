/**
 * The messages of this chat and of earlier ones, for Up and Down.
 *
 * @module
 */
import { cacheFolder } from "../../cache_folder.ts";
import { writeFile } from "../../output_file.ts";
import { note, printable } from "../../terminal.ts";

/** Messages that are kept across runs. */
const most = 1000;

/** Messages, oldest first; in a file too, a message a line as JSON, where there may be one. */
export class History {
  readonly #messages: string[];

  private constructor(
    messages: readonly string[],
    /** The folder of its file; none where messages last for this run only. */
    private folder: string | undefined,
  ) {
    this.#messages = [...messages];
  }

  /** The history of this user; `lasts` says whether it is wanted in a file. */
  static async open(lasts: boolean): Promise<History> {
    const folder = lasts ? await cacheFolder() : undefined;
    if (folder === undefined) return new History([], undefined);
    const lines = await Deno.readTextFile(fileIn(folder)).then(
      (text) => text.split("\n"),
      () => [], // There is none yet.
    );
    const messages = lines.flatMap(messageIn);
    const history = new History(messages.slice(-most), folder);
    if (messages.length > 2 * most) await history.#save(shorten);
    return history;
  }

  /** Whether the next run will know the messages. */
  get lasts(): boolean {
    return this.folder !== undefined;
  }

  /** All messages. */
  get messages(): readonly string[] {
    return this.#messages;
  }

  /** Adds a message, if it is another than the last one. */
  async add(message: string): Promise<void> {
    if (message === this.#messages.at(-1)) return;
    this.#messages.push(message);
    await this.#save((path) =>
      Deno.writeTextFile(path, lineOf(message), { append: true, mode: 0o600 })
    );
  }

  async #save(
    write: (path: string, messages: readonly string[]) => Promise<unknown>,
  ): Promise<void> {
    if (this.folder === undefined) return;
    try {
      await Deno.mkdir(this.folder, { recursive: true, mode: 0o700 });
      await write(fileIn(this.folder), this.#messages);
    } catch (error) {
      const reason = printable((error as Error).message);
      note(`warning: Messages are kept for this run only: ${reason}`);
      this.folder = undefined;
    }
  }
}

function fileIn(folder: string): string {
  return `${folder}/chat_history.jsonl`;
}

function lineOf(message: string): string {
  return `${JSON.stringify(message)}\n`;
}

async function shorten(
  path: string,
  messages: readonly string[],
): Promise<void> {
  const bytes = new TextEncoder().encode(messages.map(lineOf).join(""));
  await writeFile(path, [bytes], { force: true });
}

/** The message of a line; none where something else wrote into the file. */
function messageIn(line: string): string[] {
  try {
    const message = JSON.parse(line);
    const isPlain = typeof message === "string" &&
      /^[\P{Cc}\n\t]*$/u.test(message);
    return isPlain ? [message] : [];
  } catch {
    return [];
  }
}
