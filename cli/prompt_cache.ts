/**
 * A file that keeps the past of a text, so that the next run with the same
 * beginning need not evaluate it again.
 *
 * @module
 */
import type { LanguageModel, Session } from "../mod.ts";
import { BadFlags, type FlagsOf, type FlagTable } from "./option.ts";
import { localModel, type ModelFlags } from "./options.ts";
import { exists, OutputFile } from "./output_file.ts";
import { note, printable } from "./terminal.ts";

/** Where a past is kept. */
export const promptCacheOptions = {
  promptCache: {
    type: "string",
    flag: "--prompt-cache <file>",
    description:
      "keep what is evaluated in this file, and take from it what a text begins with",
  },
  promptCacheRo: {
    type: "boolean",
    default: false,
    flag: "--prompt-cache-ro",
    description: "leave the file of --prompt-cache as it is",
  },
} as const satisfies FlagTable;

type PromptCacheFlags =
  & Pick<ModelFlags, "model">
  & FlagsOf<typeof promptCacheOptions>;

/** A file of a past, claimed until it is disposed of where it is to be written. */
export class PromptCache implements Disposable {
  private constructor(
    readonly path: string,
    readonly isThere: boolean,
    readonly output: OutputFile | undefined,
  ) {}

  /**
   * The file that the flags name, if they name one.
   *
   * @throws {BadFlags} where they say how to keep what is not kept
   * @throws {CulmError} where it cannot be written
   */
  static async of(flags: PromptCacheFlags): Promise<PromptCache | undefined> {
    const { promptCache: path, promptCacheRo: isFixed } = flags;
    if (path === undefined) {
      if (!isFixed) return undefined;
      throw new BadFlags("Cannot use --prompt-cache-ro without --prompt-cache");
    }
    const model = localModel(flags);
    const inputs = model === undefined ? [] : [model];
    // What is there is a past, or restoring it fails before anything is written.
    const output = isFixed
      ? undefined
      : await OutputFile.open(path, { force: true, inputs });
    return new PromptCache(path, await exists(path), output);
  }

  /** The session that the file holds; an empty one where there is none. */
  async session(model: LanguageModel, signal: AbortSignal): Promise<Session> {
    const { isThere, path } = this;
    const session = isThere
      ? await model.restore(path, { signal })
      : model.createSession();
    note(
      `prompt cache: ${printable(path)} ${
        isThere ? `has ${session.ids.length} tokens` : "is not there yet"
      }`,
    );
    return session;
  }

  /** Keeps the first `tokens` of a session, or all, where the file is to be written. */
  async save(
    model: LanguageModel,
    session: Session,
    tokens: number = session.ids.length,
  ): Promise<void> {
    const { output, path } = this;
    if (!output || tokens === 0) return;
    await output.continueAt(0);
    const stream = new WritableStream<Uint8Array>({
      write: (chunk) => output.append(chunk),
    });
    await model.save(session, stream, { tokens });
    await output.moveToPlace();
    note(`prompt cache: ${tokens} tokens kept in ${printable(path)}`);
  }

  /** Gives the claim up. */
  [Symbol.dispose](): void {
    this.output?.[Symbol.dispose]();
  }
}
