/**
 * A chat with a model: its turns, and what of them the model is told.
 *
 * @module
 */
import type { ChatMessage } from "../../../gguf.ts";
import type {
  GenerateOptions,
  LanguageModel,
  Session,
  Summary,
} from "../../../mod.ts";
import { printAnswer } from "../../answer.ts";
import type { Timings } from "../../timings.ts";

/** How a conversation goes. */
export interface ConversationOptions {
  readonly generate: GenerateOptions;
  /** A Jinja template in place of the model's. */
  readonly template?: string;
  readonly system?: string;
  /** Whose past the turns begin with, as far as they are alike; an empty one, where left out. */
  readonly session?: Session;
  /** Told how many turns the context has lost its room for; without it, a chat that outgrows it is an error. */
  readonly onDrop?: (turns: number) => void;
}

/** A conversation is as it was before where an answer fails, or is stopped before it begins. */
export class Conversation implements Disposable {
  readonly #model: LanguageModel;
  readonly #options: ConversationOptions;
  readonly #timings: Timings;
  /** What was evaluated. */
  readonly session: Session;
  #system?: string;
  /** Of the user and the assistant, one after the other. */
  #turns: readonly ChatMessage[] = [];
  /** How many of them, oldest first, the model is no longer told. */
  #dropped = 0;
  /** Answers to the same message. */
  #attempt = 0;

  /** A conversation without a turn. */
  constructor(
    model: LanguageModel,
    options: ConversationOptions,
    timings: Timings,
  ) {
    this.#model = model;
    this.#options = options;
    this.#timings = timings;
    this.session = options.session ?? model.createSession();
    this.#system = options.system;
  }

  /** What the model is told before the first turn; nothing where that is empty. */
  get system(): string | undefined {
    return this.#system || undefined;
  }
  set system(text: string | undefined) {
    this.#system = text;
  }

  /** Everything that was said, the system's message first. */
  get messages(): readonly ChatMessage[] {
    return this.#told(this.#turns);
  }

  /** Goes on from what was said elsewhere. */
  set messages(messages: readonly ChatMessage[]) {
    const [first, ...others] = messages;
    const hasSystem = first?.role === "system";
    this.#system = hasSystem ? first.content : undefined;
    this.#turns = hasSystem ? others : messages;
    this.#dropped = 0;
  }

  /** Whether there is an answer. */
  get isAnswered(): boolean {
    return this.#turns.at(-1)?.role === "assistant";
  }

  /** Forgets all turns. */
  clear(): void {
    this.#turns = [];
    this.#dropped = 0;
  }

  /** Prints the answer to a message. */
  ask(content: string, signal: AbortSignal): Promise<Summary> {
    this.#attempt = 0;
    return this.#answer([...this.#turns, { role: "user", content }], signal);
  }

  /** Prints another answer to the last message. */
  askAgain(signal: AbortSignal): Promise<Summary> {
    this.#attempt++;
    return this.#answer(this.#turns.slice(0, -1), signal);
  }

  async #answer(
    turns: readonly ChatMessage[],
    signal: AbortSignal,
  ): Promise<Summary> {
    const prompt = this.#promptOf(turns);
    const { generate } = this.#options;
    const { seed = -1 } = generate;
    const { text, summary } = await printAnswer(
      (given) => this.#model.generate(prompt, given),
      {
        ...generate,
        // The same one would give the same answer again.
        seed: seed < 0 ? seed : seed + this.#attempt,
        session: this.session,
        signal,
      },
      this.#timings,
    );
    if (text !== "" || summary.finishReason !== "aborted") {
      this.#turns = [...turns, { role: "assistant", content: text }];
    }
    return summary;
  }

  /**
   * The prompt that turns make. Where it leaves less than a quarter of the
   * context for the answer, the oldest turns go until half of it is free, so
   * that the others are not evaluated again at each turn.
   */
  #promptOf(turns: readonly ChatMessage[]): number[] {
    const { onDrop, generate: { maxTokens = -1 } } = this.#options;
    const { contextSize } = this.#model.engine;
    const quarter = Math.floor(contextSize / 4);
    const wanted = maxTokens < 0 ? quarter : Math.min(maxTokens, quarter);
    let prompt = this.#tokenize(turns, this.#dropped);
    if (!onDrop || prompt.length + wanted <= contextSize) return prompt;
    let dropped = this.#dropped;
    while (prompt.length > contextSize / 2) {
      const next = turns.findIndex(({ role }, index) =>
        index > dropped && role === "user"
      );
      if (next < 0) break;
      dropped = next;
      prompt = this.#tokenize(turns, dropped);
    }
    // A message that is too long by itself costs no other.
    if (dropped > this.#dropped && prompt.length < contextSize) {
      onDrop(dropped - this.#dropped);
      this.#dropped = dropped;
    }
    return prompt;
  }

  #tokenize(turns: readonly ChatMessage[], from: number): number[] {
    const { template } = this.#options;
    const told = this.#told(turns.slice(from));
    return this.#model.tokenizeChat(told, { template });
  }

  #told(turns: readonly ChatMessage[]): readonly ChatMessage[] {
    const { system } = this;
    return system === undefined
      ? turns
      : [{ role: "system", content: system }, ...turns];
  }

  /** Gives its memory back. */
  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
  }
}
