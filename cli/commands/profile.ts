import {
  checkProfile,
  describeModel,
  isSparse,
  LimitError,
  mergeProfiles,
  type Model,
  mostProfileTokens,
  type Profile,
  type ProfileFile,
  readGguf,
  reorderNeurons,
  UsageError,
  writeProfile,
} from "../../mod.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes, formatDuration } from "../format.ts";
import { growing } from "../growing_profile.ts";
import { readTexts } from "../input.ts";
import { Interrupt } from "../interrupt.ts";
import { loadModel, openModel } from "../model_file.ts";
import {
  findProfile,
  profilePathOf,
  readProfileFile,
} from "../model_profile.ts";
import { BadFlags, group, option } from "../option.ts";
import { countingOptions, type LoadFlags, modelOptions } from "../options.ts";
import { exists, thereAlready, writeFile } from "../output_file.ts";
import {
  type Counted,
  countWindows,
  hashOf,
  lengthOf,
  windowsOf,
} from "../profile_run.ts";
import { note, printable, ProgressBar } from "../terminal.ts";
import { paths } from "../values.ts";

interface ProfileFlags extends LoadFlags {
  readonly file?: string[];
  readonly merge?: string[];
  readonly reorder?: string;
  readonly output?: string;
  readonly force?: true;
}

/** Counts how often neurons fire. */
export const profile: CommandSpec = {
  name: "profile",
  summary:
    "count how often each neuron fires, so that generating reads the busy ones in one go",
  options: [
    ...group(
      "Profile",
      option(
        "-f, --file <file>",
        "a text to run; may be repeated; - = standard input",
        paths,
      ),
      option("--merge <file...>", "add up profiles, and run no text"),
      option(
        "--reorder <file>",
        "run no text, but write the model with its neurons in the order of its profile, which goes into the file",
      ),
      option(
        "-o, --output <file>",
        "where the counts go (default: MODEL.profile, which the other commands find)",
      ),
      option(
        "--profile <file>",
        "the profile for --reorder (default: MODEL.profile)",
      ),
      option("--force", "replace a file that is there"),
    ),
    ...modelOptions,
    ...countingOptions,
  ],
  examples: [
    "culm profile -m model.gguf -f text.txt",
    "culm profile -m model.gguf --merge monday.profile tuesday.profile",
    "culm profile -m model.gguf --reorder ordered.gguf",
  ],
  run,
};

async function run(flags: ProfileFlags): Promise<number> {
  const { file, merge: parts, reorder: model } = flags;
  if ([file, parts, model].filter((flag) => flag !== undefined).length > 1) {
    throw new BadFlags(
      "Cannot do several things at once: give one of -f, --merge and --reorder",
    );
  }
  if (model !== undefined) {
    await reorder(flags, model);
    return 0;
  }
  const output = flags.output ?? profilePathOf(flags);
  if (output === undefined) {
    throw new BadFlags(
      "Cannot tell where the profile should go: give -o FILE, or -m with a local file",
    );
  }
  await (flags.merge ? merge : count)(flags, output);
  return 0;
}

async function merge(flags: ProfileFlags, output: string): Promise<void> {
  const profiles = await Promise.all(flags.merge!.map(readProfileFile));
  const sum = mergeProfiles(profiles.map(({ profile }) => profile));
  if (flags.model !== undefined) checkProfile(sum, await describe(flags));
  const { force } = flags;
  await writeFile(output, [await writeProfile({ profile: sum })], { force });
  noteWritten(sum, output);
}

async function reorder(flags: ProfileFlags, output: string): Promise<void> {
  using interrupt = new Interrupt();
  const source = await openModel(flags);
  try {
    const found = await findProfile(flags, source);
    if (!found) {
      throw new UsageError(
        "Cannot reorder without a profile: count one first (culm profile -f TEXT), or give --profile FILE",
      );
    }
    const file = await readGguf(source);
    const model = describeModel(file, flags);
    using bar = new ProgressBar("writing");
    const chunks = reorderNeurons(source, file, model, found.profile);
    await writeFile(output, chunks, {
      force: flags.force,
      signal: interrupt.signal,
      onProgress: (written) =>
        bar.update(written, file.size, formatBytes(written)),
    });
    bar[Symbol.dispose]();
    noteWritten(found.profile, output);
  } finally {
    await source.close();
  }
}

/** Time between two states of unfinished work that are kept, in ms. */
const saveEvery = 10_000;

async function count(flags: ProfileFlags, output: string): Promise<void> {
  const there = flags.force ? undefined : await unfinished(output);
  const texts = await readTexts(flags.file, "profile");
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
  const size = Math.min(flags.ctxSize, model.model.contextSize);
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
    if (!counted) return;
    const { profile, position } = counted;
    const progress = position < total ? { text, position } : undefined;
    const bytes = await writeProfile({ profile, progress });
    await writeFile(output, [bytes], { force: true });
  };
  const start = performance.now();
  let savedAt = start;
  using bar = new ProgressBar("counting");
  try {
    const { signal } = interrupt;
    for await (
      counted of countWindows(model.engine, windows, counted, signal)
    ) {
      const { position } = counted;
      const now = performance.now();
      const msPerToken = (now - start) / (position - startedAt);
      const left = formatDuration(msPerToken * (total - position));
      bar.update(position, total, `${position} of ${total}, ${left} left`);
      if (now - savedAt < saveEvery) continue;
      await save();
      savedAt = now;
    }
  } catch (error) {
    bar[Symbol.dispose]();
    await save();
    note(
      `kept the counts of ${
        counted?.position ?? 0
      } of ${total} tokens; the same command goes on from there`,
    );
    throw error;
  }
  bar[Symbol.dispose]();
  await save();
  noteWritten(counted!.profile, output);
}

/**
 * The profile that was begun at a path, but for one that generating began,
 * which counting replaces.
 *
 * @throws {CulmError} where a finished one is there
 */
async function unfinished(path: string): Promise<ProfileFile | undefined> {
  if (!await exists(path)) return undefined;
  const there = await readProfileFile(path);
  if (!there.progress) throw thereAlready(path);
  return there.progress.text === growing ? undefined : there;
}

async function describe(flags: LoadFlags): Promise<Model> {
  const source = await openModel(flags);
  try {
    return describeModel(await readGguf(source), flags);
  } finally {
    await source.close();
  }
}

function noteWritten({ tokens }: Profile, path: string): void {
  note(`wrote ${printable(path)}: ${tokens} tokens`);
}
