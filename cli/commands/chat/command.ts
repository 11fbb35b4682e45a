import { ContextError } from "../../../mod.ts";
import { cacheFolderFlags } from "../../cache_folder.ts";
import { readTemplate, templateFlag } from "../../chat_template.ts";
import { type CommandSpec, interruptedCode } from "../../command.ts";
import { checkDraftFlags, loadDraftModel } from "../../draft_model.ts";
import {
  constraintFlags,
  constraintOptionsOf,
} from "../../constraint_flags.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { growingOptions, GrowingProfile } from "../../growing_profile.ts";
import { readLines } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import { modelOptions, runOptions } from "../../options.ts";
import { PromptCache, promptCacheOptions } from "../../prompt_cache.ts";
import {
  generateOptionsOf,
  lengthFlags,
  samplingFlags,
  speculationFlags,
} from "../../sampling_options.ts";
import { note, write } from "../../terminal.ts";
import { Timings, warnOfActivation } from "../../timings.ts";
import { Conversation } from "./conversation.ts";
import { History } from "./history.ts";
import { Keyboard } from "./keyboard.ts";
import { say } from "./say.ts";

const options = {
  Chat: {
    ...promptCacheOptions,
    systemPrompt: {
      type: "string",
      flag: "-sys, --system-prompt <text>",
      description: "what the model is told before the first turn",
    },
    template: templateFlag,
    history: {
      type: "boolean",
      default: true,
      flag: "--no-history",
      description: "keep what is typed for this run only",
    },
  },
  Model: modelOptions,
  Running: { ...runOptions, ...growingOptions },
  GPU: runGpuOptions,
  Length: lengthFlags,
  Constraint: constraintFlags,
  Sampling: samplingFlags,
  Speculation: speculationFlags,
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
  checkDraftFlags(flags);
  const template = await readTemplate(flags.template);
  const constraint = await constraintOptionsOf(flags);
  const interactive = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  using cache = await PromptCache.of(flags);
  using interrupt = new Interrupt();
  const growing = await GrowingProfile.of(flags);
  await using draftModel = await loadDraftModel(flags, interrupt);
  await using model = await loadModel(flags, interrupt, {
    countNeurons: growing !== undefined,
  });
  if (template === undefined && !model.hasChatTemplate) {
    note(
      "warning: the model has no chat template; turns are written as ChatML, which it may not know (--chat-template sets another)",
    );
  }
  const timings = new Timings(model.loadMs);
  using conversation = new Conversation(model, {
    session: await cache?.session(model, interrupt.signal),
    generate: {
      ...generateOptionsOf(flags, model.tokenizer, draftModel),
      ...constraint,
    },
    template,
    system: flags.systemPrompt,
    onDrop: interactive ? noteDropped : undefined,
  }, timings);
  let code = 0;
  if (interactive) {
    const { contextSize } = model.engine;
    await talk(conversation, interrupt, contextSize, flags.history);
  } else code = await answerLines(conversation, interrupt);
  note(timings.toString());
  await cache?.save(model, conversation.session);
  warnOfActivation(model);
  await growing?.save(model);
  return code;
}

function noteDropped(turns: number): void {
  const what = turns === 1
    ? "the oldest message"
    : `the oldest ${turns} messages`;
  say(`(the context is full: the model is no longer told ${what})`);
}

/** Talks with the user at the terminal. */
async function talk(
  conversation: Conversation,
  interrupt: Interrupt,
  contextSize: number,
  lasts: boolean,
): Promise<void> {
  const history = await History.open(lasts);
  say("/help lists commands and keys, Ctrl-D ends the chat.");
  if (lasts && !history.lasts) {
    say(`Messages are kept for this run only; ${cacheFolderFlags} keeps them.`);
  }
  using keyboard = new Keyboard(interrupt);
  const parts = { conversation, keyboard, history, interrupt, contextSize };
  // What draws a message that is typed takes some 20 ms to load: other commands do without.
  const { TerminalChat } = await import("./terminal_chat.ts");
  await new TerminalChat(parts).run();
}

/** Answers each line of standard input, until it ends or Ctrl-C comes; gives the exit code. */
async function answerLines(
  conversation: Conversation,
  interrupt: Interrupt,
): Promise<number> {
  try {
    for await (const line of readLines(() => interrupt.signal)) {
      if (line.trim() === "") continue;
      const { finishReason } = await conversation.ask(line, interrupt.signal);
      await write("\n");
      if (finishReason === "aborted") note("(stopped)");
      if (finishReason === "length") {
        note("(cut at the end of -n, or of the context)");
      }
    }
    return interrupt.signal.aborted ? interruptedCode : 0;
  } catch (error) {
    if (!(error instanceof ContextError)) throw error;
    note(
      `error: The chat has outgrown its context. ${error.message}. Begin a new one, or use a larger -c.`,
    );
    return 1;
  }
}
