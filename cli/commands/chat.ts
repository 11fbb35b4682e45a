import { chatOptions, LimitError } from "../../mod.ts";
import type { ChatMessage } from "../../gguf.ts";
import { printAnswer } from "../answer.ts";
import { type CommandSpec, interruptedCode } from "../command.ts";
import { runGpuOptions } from "../gpu_options.ts";
import { growingOptions, GrowingProfile } from "../growing_profile.ts";
import { readLines, readText } from "../input.ts";
import { Interrupt } from "../interrupt.ts";
import { loadModel } from "../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../option.ts";
import { modelOptions, runOptions } from "../options.ts";
import {
  generateOptionsOf,
  lengthFlags,
  samplingFlags,
} from "../sampling_options.ts";
import { note, write } from "../terminal.ts";
import { Timings } from "../timings.ts";

const options = {
  Chat: {
    systemPrompt: {
      type: "string",
      flag: "-sys, --system-prompt <text>",
      description: "what the model is told before the first turn",
    },
    template: {
      ...chatOptions.template,
      flag: "--chat-template, --chat-template-file <template>",
    },
  },
  Model: modelOptions,
  Running: { ...runOptions, ...growingOptions },
  GPU: runGpuOptions,
  Length: lengthFlags,
  Sampling: samplingFlags,
} as const satisfies FlagGroups;

type ChatFlags = FlagsOfGroups<typeof options>;

/** Talks with a model. */
export const chat: CommandSpec = {
  name: "chat",
  summary: "talk with a model; each line of standard input is a turn",
  options,
  examples: [
    `culm chat -m model.gguf -sys "Answer in one sentence."`,
    "culm chat -m model.gguf < questions.txt > answers.txt",
  ],
  run,
};

async function run(flags: ChatFlags): Promise<number> {
  const template = await templateOf(flags.template);
  const interactive = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  using interrupt = new Interrupt();
  const growing = await GrowingProfile.of(flags);
  await using model = await loadModel(flags, interrupt, {
    countNeurons: growing !== undefined,
  });
  if (template === undefined && !model.hasChatTemplate) {
    note(
      "warning: the model has no chat template; turns are written as ChatML, which it may not know (--chat-template sets another)",
    );
  }
  using session = model.createSession();
  const timings = new Timings(model.loadMs);
  const settings = {
    ...generateOptionsOf(flags, model.tokenizer),
    template,
    session,
  };
  const messages: ChatMessage[] = [];
  if (flags.systemPrompt) {
    messages.push({ role: "system", content: flags.systemPrompt });
  }

  let code = 0;
  try {
    for await (const content of userTurns(interactive, interrupt)) {
      messages.push({ role: "user", content });
      const { text, summary } = await printAnswer(
        (given) => model.chat(messages, given),
        { ...settings, signal: interrupt.signal },
        timings,
      );
      await write("\n");
      messages.push({ role: "assistant", content: text });
      if (summary.finishReason === "aborted") note("(stopped)");
      if (summary.finishReason === "length") {
        note("(cut at the end of -n, or of the context)");
      }
      if (interactive) interrupt.reset();
    }
    if (interrupt.signal.aborted) code = interruptedCode;
  } catch (error) {
    if (!(error instanceof LimitError)) throw error;
    note(
      `error: The chat has outgrown its context. ${error.message}. Begin a new one, or use a larger -c.`,
    );
    code = 1;
  }
  note(timings.toString());
  await growing?.save(model);
  return code;
}

/** A template's own text always holds a brace, which the name of a file hardly does. */
async function templateOf(
  given: string | undefined,
): Promise<string | undefined> {
  return given === undefined || given.includes("{")
    ? given
    : await readText(given);
}

/** What the user says, turn by turn, until the input or Ctrl-C ends it; on a terminal, lines can be edited. */
async function* userTurns(
  interactive: boolean,
  interrupt: Interrupt,
): AsyncGenerator<string> {
  const lines = interactive
    ? promptedLines()
    : readLines(() => interrupt.signal);
  for await (const line of lines) if (line.trim() !== "") yield line;
}

async function* promptedLines(): AsyncGenerator<string> {
  note("Ctrl-C stops an answer, Ctrl-D ends the chat.");
  for (;;) {
    const line = prompt(">");
    if (line === null) return;
    yield await Promise.resolve(line);
  }
}
