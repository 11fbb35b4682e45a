import {
  type LanguageModel,
  type Session,
  type Summary,
  textOptions,
} from "../../mod.ts";
import { noteLogprobs, printAnswer } from "../answer.ts";
import { type CommandSpec, interruptedCode } from "../command.ts";
import { checkDraftFlags, loadDraftModel } from "../draft_model.ts";
import { constraintFlags, constraintOptionsOf } from "../constraint_flags.ts";
import { runGpuOptions } from "../gpu_options.ts";
import { growingOptions, GrowingProfile } from "../growing_profile.ts";
import { readPrompt } from "../input.ts";
import { Interrupt } from "../interrupt.ts";
import { loadModel } from "../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../option.ts";
import { modelOptions, promptOptions, runOptions } from "../options.ts";
import { PromptCache, promptCacheOptions } from "../prompt_cache.ts";
import {
  generateOptionsOf,
  lengthFlags,
  samplingFlags,
  speculationFlags,
} from "../sampling_options.ts";
import { note, write } from "../terminal.ts";
import { Timings, warnOfActivation } from "../timings.ts";

const options = {
  Prompt: {
    ...promptOptions,
    ...promptCacheOptions,
    promptCacheAll: {
      type: "boolean",
      default: false,
      flag: "--prompt-cache-all",
      description: "keep the text that is generated too",
    },
  },
  Model: modelOptions,
  Running: { ...runOptions, ...growingOptions },
  GPU: runGpuOptions,
  Length: lengthFlags,
  Constraint: constraintFlags,
  Sampling: samplingFlags,
  Speculation: speculationFlags,
  Output: {
    displayPrompt: {
      type: "boolean",
      default: true,
      flag: "--no-display-prompt",
      description: "leave the prompt out of the output",
    },
    logprobs: textOptions.logprobs,
  },
} as const satisfies FlagGroups;

type GenerateFlags = FlagsOfGroups<typeof options>;

/** What the embedded model, which tells stories, is given to begin with. */
const defaultPrompt = "Once upon a time";

/** Continues a prompt. */
export const generate: CommandSpec = {
  name: "generate",
  summary: "continue a text",
  options,
  examples: [
    `culm generate -p "Tom had a red ball." -n 64 -s 1`,
    "culm generate -m bamboo-7b.gguf -f prompt.txt --temp 0 -c 2048",
    `culm generate -p "The ball is" --json-schema '{"enum": ["red", "blue"]}'`,
  ],
  run,
};

async function run(flags: GenerateFlags): Promise<number> {
  checkDraftFlags(flags);
  using cache = await PromptCache.of(flags);
  if (flags.promptCacheAll && !cache?.output) {
    throw new BadFlags(
      "Cannot use --prompt-cache-all without --prompt-cache, or with --prompt-cache-ro",
    );
  }
  if (flags.screenHead === "on" && flags.logprobs !== undefined) {
    note(
      "note: --screen-head changes nothing: --logprobs needs all rows of the head",
    );
  }
  const given = await promptOf(flags, cache);
  const constraint = await constraintOptionsOf(flags);
  using interrupt = new Interrupt();
  const growing = await GrowingProfile.of(flags);
  await using draftModel = await loadDraftModel(flags, interrupt);
  await using model = await loadModel(flags, interrupt, {
    countNeurons: growing !== undefined,
  });
  if (model.hasChatTemplate) {
    note(
      "note: the model has a chat template: culm chat has it answer, this has it go on with the text",
    );
  }
  const timings = new Timings(model.loadMs);
  using session = await cache?.session(model, interrupt.signal);
  // Where nothing is given, the text that is kept goes on.
  const ids = given === undefined
    ? [...session!.ids]
    // As llama.cpp's and PowerInfer's: special tokens that -p spells out are some.
    : model.tokenize(given, { parseSpecial: true, addEos: false });
  if (ids.length === 0) {
    throw new BadFlags(
      "Cannot generate from an empty prompt: the model has no token that begins a text",
    );
  }
  if (flags.displayPrompt) await write(given ?? model.detokenize(ids));
  const { text, summary } = await printAnswer(
    (options) => model.generate(ids, options),
    {
      ...generateOptionsOf(flags, model.tokenizer, draftModel),
      ...constraint,
      logprobs: flags.logprobs,
      signal: interrupt.signal,
      session,
    },
    timings,
    flags.logprobs !== undefined
      ? (piece) => noteLogprobs(piece, model.tokenizer)
      : undefined,
  );
  if (!text.endsWith("\n")) await write("\n");
  note(`seed: ${summary.seed}`);
  if (cache) await keep(cache, model, session!, summary, flags);
  note(timings.toString());
  warnOfActivation(model);
  await growing?.save(model);
  return summary.finishReason === "aborted" ? interruptedCode : 0;
}

/** Says what the prompt cache has spared, and keeps what it lacks. */
async function keep(
  cache: PromptCache,
  model: LanguageModel,
  session: Session,
  { cachedTokens, promptTokens }: Summary,
  { promptCacheAll }: GenerateFlags,
): Promise<void> {
  note(
    `prompt cache: ${cachedTokens} of the prompt's ${promptTokens} tokens were there`,
  );
  const isWhole = session.ids.length >= promptTokens;
  // The last token of a prompt is evaluated again, for what follows it.
  const isNew = cachedTokens < promptTokens - 1;
  if (isWhole && promptCacheAll) await cache.save(model, session);
  else if (isWhole && isNew) await cache.save(model, session, promptTokens);
}

/** The text to continue; none where that is what the cache has kept. */
async function promptOf(
  flags: GenerateFlags,
  cache: PromptCache | undefined,
): Promise<string | undefined> {
  const read = await readPrompt(flags);
  if (read === undefined && cache?.isThere) return undefined;
  const prompt = read ??
    (flags.model === undefined ? defaultPrompt : undefined);
  if (prompt === undefined) {
    throw new BadFlags(
      "Cannot generate without a prompt: give -p TEXT or -f FILE",
    );
  }
  return prompt;
}
