/**
 * The model that drafts, which `-md` names, and the flags that say how.
 *
 * @module
 */
import {
  type LanguageModel,
  load,
  type Tokenizer,
  UsageError,
} from "../mod.ts";
import { readGguf, tokenizerFromGguf } from "../gguf.ts";
import { checkDraftVocabulary } from "../src/generate/model_drafter.ts";
import {
  checkDraftLength,
  drafterNameOf,
} from "../src/generate/speculation.ts";
import { isHubName, readHubName } from "../src/hub/name.ts";
import { pathOf } from "./hub_model.ts";
import type { Interrupt } from "./interrupt.ts";
import { describe, openModel } from "./model_file.ts";
import { BadFlags, namesOf } from "./option.ts";
import type { HubFlags, LoadFlags, ModelFlags } from "./options.ts";
import { type SpeculationFlags, speculationFlags } from "./sampling_options.ts";
import { note, printable, ProgressBar } from "./terminal.ts";

/** Flags that say nothing where this drafts. */
const idle: Readonly<
  Record<
    NonNullable<SpeculationFlags["speculation"]>,
    readonly (keyof typeof speculationFlags)[]
  >
> = {
  "none": ["draftModel", "draftMax", "draftMin", "ngramSize"],
  "ngram-simple": ["draftModel"],
  "ngram-mod": ["draftModel"],
  "draft-simple": ["ngramSize"],
};

/**
 * Checks flags against one another, and notes those that change nothing.
 *
 * @throws {BadFlags} where no text can be drafted as they say
 */
export function checkDraftFlags(
  flags: SpeculationFlags & Pick<LoadFlags, "batchSize">,
): void {
  const drafter = drafterNameOf(flags);
  if (drafter === "draft-simple" && flags.draftModel === undefined) {
    throw new BadFlags(
      "Cannot use --spec-type draft-simple without a draft model: name one with -md",
    );
  }
  try {
    checkDraftLength(flags, flags.batchSize);
  } catch (error) {
    throw error instanceof UsageError ? new BadFlags(error.message) : error;
  }
  for (const name of idle[drafter]) {
    const { flag, default: usual }: { flag: string; default?: unknown } =
      speculationFlags[name];
    if (flags[name] === usual) continue;
    note(
      `note: ${
        namesOf(flag)[0]
      } changes nothing: --spec-type ${drafter} has no use for it`,
    );
  }
}

/**
 * Loads the model that drafts, where the flags name one: by the same threads,
 * without a GPU. Before the model that it drafts for, which takes longer; but
 * first the headers of both are looked at.
 *
 * @throws {UsageError} where the two differ in their vocabularies
 */
export async function loadDraftModel(
  flags: SpeculationFlags & HubFlags & ModelFlags & Pick<LoadFlags, "threads">,
  { signal }: Interrupt,
): Promise<LanguageModel | undefined> {
  const { draftModel, threads } = flags;
  if (!draftModel || drafterNameOf(flags) !== "draft-simple") return undefined;
  const path = isHubName(draftModel)
    ? await pathOf(readHubName(draftModel), flags)
    : draftModel;
  checkDraftVocabulary(
    await readTokenizer(flags, signal),
    await readTokenizer({ model: path }, signal),
  );
  using bar = new ProgressBar("loading", "bytes");
  const model = await load(path, {
    threads,
    gpu: "off",
    signal,
    onWarning: (message) => note(`warning: ${printable(message)}`),
    onProgress: ({ loaded, total }) => bar.update(loaded, total),
  });
  bar[Symbol.dispose]();
  note(`draft model: ${describe(model)}, from ${printable(draftModel)}`);
  return model;
}

/** The tokenizer in a model's header. */
async function readTokenizer(
  flags: ModelFlags,
  signal: AbortSignal,
): Promise<Tokenizer> {
  const source = await openModel(flags, signal);
  try {
    return tokenizerFromGguf(await readGguf(source));
  } finally {
    await source.close();
  }
}
