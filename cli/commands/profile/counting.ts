/**
 * Running texts through a model to count how often its neurons fire. The counts
 * lie in a file, so that work that was stopped goes on from there.
 *
 * @module
 */
import { LimitError, UsageError } from "../../../mod.ts";
import { isSparse } from "../../../gguf.ts";
import {
  mostProfileTokens,
  type Profile,
  type ProfileFile,
  writeProfile,
} from "../../../plan.ts";
import { growing } from "../../growing_profile.ts";
import { readTexts } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import { readProfileFile } from "../../model_profile.ts";
import type { FlagsOf } from "../../option.ts";
import type { countingOptions, ModelFlags } from "../../options.ts";
import { exists, thereAlready } from "../../output_file.ts";
import { openIfGiven } from "../../output_flags.ts";
import {
  type Counted,
  countWindows,
  hashOf,
  lengthOf,
  windowsOf,
} from "./run.ts";
import { note, ProgressBar } from "../../terminal.ts";

/** Time between two states that are kept, in ms; the first is at once. */
const saveEveryMs = 10_000;

/** Flags of a command that counts texts. */
export interface CountFlags
  extends ModelFlags, FlagsOf<typeof countingOptions> {
  readonly file?: readonly string[];
  readonly force?: boolean;
}

/**
 * Counts the texts of `-f`, or of standard input, into the file `output`, where
 * there is one. `purpose` is what for, where there is no text: `profile`.
 *
 * @throws {CulmError} where the file is there, and is not unfinished work of the same text
 */
export async function countProfile(
  flags: CountFlags,
  output: string | undefined,
  purpose: string,
): Promise<Profile> {
  const isThere = output !== undefined && await exists(output);
  using file = await openIfGiven(
    output,
    { ...flags, force: isThere },
    { made: "profile" },
  );
  const there = isThere && !flags.force ? await unfinished(output) : undefined;
  const texts = await readTexts(flags.file, purpose);
  using interrupt = new Interrupt();
  await using model = await loadModel(
    { ...flags, sparsity: { mode: "exact" }, profile: false },
    interrupt,
    { countNeurons: true },
  );
  if (!isSparse(model.model.activation)) {
    throw new UsageError(
      `Cannot profile a model of activation ${model.model.activation}: its neurons are never zero`,
    );
  }
  const size = Math.min(flags.contextSize, model.model.contextSize);
  const windows = windowsOf(model.tokenizer, texts, size);
  const total = lengthOf(windows);
  if (total === 0) throw new UsageError("Cannot profile an empty text");
  if (total > mostProfileTokens) {
    throw new LimitError(
      `Cannot profile ${total} tokens: the most is ${mostProfileTokens}`,
    );
  }
  const text = await hashOf(windows);
  if (there && there.progress?.text !== text) {
    throw new UsageError(
      `Cannot write ${output}: it is the unfinished profile of another text, or of other settings; --force begins anew`,
    );
  }

  let counted: Counted | undefined = there?.progress &&
    { profile: there.profile, position: there.progress.position };
  const startedAt = counted?.position ?? 0;
  if (counted) note(`going on after ${startedAt} of ${total} tokens`);
  const save = async () => {
    if (!counted || !file) return;
    const { profile, position } = counted;
    const progress = position < total ? { text, position } : undefined;
    const bytes = await writeProfile({ profile, progress });
    await file.save([bytes]);
  };
  let savedAt = -Infinity;
  using bar = new ProgressBar("counting", "tokens", startedAt);
  try {
    const { signal } = interrupt;
    for await (
      counted of countWindows(model.engine, windows, counted, signal)
    ) {
      const { position } = counted;
      bar.update(position, total);
      const now = performance.now();
      if (now - savedAt < saveEveryMs) continue;
      await save();
      savedAt = now;
    }
  } catch (error) {
    bar[Symbol.dispose]();
    await save();
    if (output !== undefined) {
      note(
        `kept the counts of ${
          counted?.position ?? 0
        } of ${total} tokens; the same command goes on from there`,
      );
    }
    throw error;
  }
  bar[Symbol.dispose]();
  await save();
  return counted!.profile;
}

/**
 * The profile that was begun at a path, but for one that generating began,
 * which counting replaces.
 *
 * @throws {CulmError} where a finished one is there
 */
async function unfinished(path: string): Promise<ProfileFile | undefined> {
  const there = await readProfileFile(path);
  if (!there.progress) throw thereAlready(path);
  return there.progress.text === growing ? undefined : there;
}
