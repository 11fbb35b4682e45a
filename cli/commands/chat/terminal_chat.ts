/**
 * A chat on a terminal.
 *
 * @module
 */
// @ts-types="../../../src/std/colors.d.ts"
import { dim, red } from "@std/fmt/colors";
import { ContextError, CulmError, type Summary } from "../../../mod.ts";
import type { Interrupt } from "../../interrupt.ts";
import { note, printable, printableLines, write } from "../../terminal.ts";
import type { Conversation } from "./conversation.ts";
import type { History } from "./history.ts";
import type { Keyboard } from "./keyboard.ts";
import { messageOf } from "./line_editor.ts";
import { promptForMessage } from "./message_prompt.ts";
import { loadChat, saveChat } from "./saved_chat.ts";
import { say } from "./say.ts";
import {
  type ChatControls,
  runSlashCommand,
  slashCommandIn,
  slashHelp,
} from "./slash_commands.ts";

/** What a chat needs. */
export interface TerminalChatParts {
  readonly conversation: Conversation;
  readonly keyboard: Keyboard;
  readonly history: History;
  readonly interrupt: Interrupt;
  /** Positions of the context. */
  readonly contextSize: number;
}

/** Asks, answers and obeys until the user leaves. */
export class TerminalChat implements ChatControls {
  readonly #parts: TerminalChatParts;
  /** The file that this chat was saved to or loaded from. */
  #file?: string;
  #isOver = false;

  /** A chat that has not begun. */
  constructor(parts: TerminalChatParts) {
    this.#parts = parts;
  }

  /** Runs the chat. */
  async run(): Promise<void> {
    const { keyboard, history } = this.#parts;
    while (!this.#isOver) {
      const text = await promptForMessage(keyboard, history);
      if (text === undefined) return;
      if (text.trim() === "") continue;
      await history.add(text);
      try {
        await this.#take(text);
      } catch (error) {
        // Only one of the machine ends the chat.
        const isExpected = error instanceof CulmError ||
          error instanceof Deno.errors.NotCapable;
        if (!isExpected) throw error;
        complain(error);
      }
    }
  }

  async #take(text: string): Promise<void> {
    const command = slashCommandIn(text);
    if (command) await runSlashCommand(command, this);
    else {
      const { conversation } = this.#parts;
      const content = messageOf(text);
      await this.#answer((signal) => conversation.ask(content, signal));
    }
  }

  async #answer(
    answer: (signal: AbortSignal) => Promise<Summary>,
  ): Promise<void> {
    const { interrupt, contextSize } = this.#parts;
    try {
      const summary = await answer(interrupt.signal);
      await write("\n");
      say(outcomeOf(summary, contextSize));
    } finally {
      interrupt.reset();
    }
  }

  help(): void {
    note(slashHelp());
  }

  clear(): void {
    this.#parts.conversation.clear();
    this.#file = undefined;
    say("(a new chat)");
  }

  async regenerate(): Promise<void> {
    const { conversation } = this.#parts;
    if (!conversation.isAnswered) {
      throw new CulmError("Cannot answer anew: there is no answer yet");
    }
    await this.#answer((signal) => conversation.askAgain(signal));
  }

  system(text: string): void {
    const { conversation } = this.#parts;
    if (text !== "") conversation.system = text;
    say(
      conversation.system === undefined
        ? "(there is no system message)"
        : `system: ${printable(conversation.system)}`,
    );
  }

  async save(given: string): Promise<void> {
    const path = given || this.#file;
    if (path === undefined) {
      throw new CulmError("Cannot save without a name: /save FILE");
    }
    const { messages } = this.#parts.conversation;
    await saveChat(path, messages, path === this.#file);
    this.#file = path;
    say(`(wrote ${printable(path)})`);
  }

  async load(path: string): Promise<void> {
    const { conversation } = this.#parts;
    conversation.messages = await loadChat(path);
    this.#file = path;
    const { length } = conversation.messages;
    say(`(${length} messages; the last ones:)`);
    for (const { role, content } of conversation.messages.slice(-2)) {
      await write(`${dim(`${role}:`)} ${printableLines(content)}\n`);
    }
  }

  exit(): void {
    this.#isOver = true;
  }
}

/** How an answer ended, and what it took. */
function outcomeOf(summary: Summary, contextSize: number): string {
  const { finishReason, promptTokens, completionTokens, completionMs } =
    summary;
  const used = promptTokens + completionTokens;
  const rate = completionTokens > 1
    ? `, ${(1000 * (completionTokens - 1) / completionMs).toFixed(1)}/s`
    : "";
  const took = `${completionTokens} tokens${rate}; context ${
    Math.min(used, contextSize)
  } of ${contextSize}`;
  if (completionTokens === 0) return `(stopped; ${comesBack})`;
  if (finishReason === "aborted") return `(stopped; ${took})`;
  if (finishReason === "stop") return `(${took})`;
  return used >= contextSize
    ? `(cut, for the context is full: ${took})`
    : `(cut at -n: ${took})`;
}

/** Says what went wrong in one line; whatever was typed is in the history. */
function complain(error: Error): void {
  const advice = error instanceof ContextError
    ? ". Shorten the message, or begin again with a larger -c"
    : "";
  const line = `error: ${printable(error.message)}${advice} (${comesBack})`;
  note(Deno.stderr.isTerminal() ? red(line) : line);
}

const comesBack = "Up brings back what you typed";
