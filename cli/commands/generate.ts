import { textOptions } from "../../mod.ts";
import { noteLogprobs, printAnswer } from "../answer.ts";
import { type CommandSpec, interruptedCode } from "../command.ts";
import { runGpuOptions } from "../gpu_options.ts";
import { growingOptions, GrowingProfile } from "../growing_profile.ts";
import { readPrompt } from "../input.ts";
import { Interrupt } from "../interrupt.ts";
import { loadModel } from "../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../option.ts";
import { modelOptions, promptOptions, runOptions } from "../options.ts";
import {
  generateOptionsOf,
  lengthFlags,
  samplingFlags,
} from "../sampling_options.ts";
import { note, write } from "../terminal.ts";
import { Timings } from "../timings.ts";

const options = {
  Prompt: promptOptions,
  Model: modelOptions,
  Running: { ...runOptions, ...growingOptions },
  GPU: runGpuOptions,
  Length: lengthFlags,
  Sampling: samplingFlags,
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
  ],
  run,
};

async function run(flags: GenerateFlags): Promise<number> {
  const prompt = await promptOf(flags);
  using interrupt = new Interrupt();
  const growing = await GrowingProfile.of(flags);
  await using model = await loadModel(flags, interrupt, {
    countNeurons: growing !== undefined,
  });
  if (model.hasChatTemplate) {
    note(
      "note: the model has a chat template: culm chat has it answer, this has it go on with the text",
    );
  }
  const timings = new Timings(model.loadMs);
  if (flags.displayPrompt) await write(prompt);
  const { text, summary } = await printAnswer(
    (options) => model.generate(prompt, options),
    {
      ...generateOptionsOf(flags, model.tokenizer),
      logprobs: flags.logprobs,
      signal: interrupt.signal,
    },
    timings,
    flags.logprobs > 0
      ? (piece) => noteLogprobs(piece, model.tokenizer)
      : undefined,
  );
  if (!text.endsWith("\n")) await write("\n");
  note(`seed: ${summary.seed}`);
  note(timings.toString());
  await growing?.save(model);
  return summary.finishReason === "aborted" ? interruptedCode : 0;
}

async function promptOf(flags: GenerateFlags): Promise<string> {
  const prompt = await readPrompt(flags) ??
    (flags.model === undefined ? defaultPrompt : undefined);
  if (prompt === undefined) {
    throw new BadFlags(
      "Cannot generate without a prompt: give -p TEXT or -f FILE",
    );
  }
  if (prompt === "") {
    throw new BadFlags(
      "Cannot generate from an empty prompt: give -p TEXT or -f FILE",
    );
  }
  return prompt;
}
