/**
 * Parses what a model answers, while it comes: into reasoning, text and calls
 * of tools. What may be the beginning of a tag is held back until it is known
 * to be one, or not; what looked like a call and is none is given back as text.
 *
 * @module
 */
import type { AnswerFormat, AnswerReading, ChatEvent } from "./answer.ts";
import { harmonyAnswer } from "./harmony_answer.ts";
import { TaggedAnswer } from "./tagged_answer.ts";
import { TextInput } from "./text_input.ts";

/** Parses one answer. */
export class AnswerParser {
  readonly #input = new TextInput();
  readonly #reading: AnswerReading<void>;

  /** Begins before the answer's first piece. `newId` names calls. */
  constructor(format: AnswerFormat, newId: () => string = randomId) {
    this.#reading = format.hasChannels
      ? harmonyAnswer(this.#input, format.tools, newId)
      : new TaggedAnswer(this.#input, format, newId).read();
  }

  /** Takes the next piece, and gives what is known now. */
  push(text: string): ChatEvent[] {
    this.#input.text += text;
    return this.#read();
  }

  /** What was held back, when nothing follows. */
  finish(): ChatEvent[] {
    this.#input.ended = true;
    return this.#read();
  }

  #read(): ChatEvent[] {
    const events: ChatEvent[] = [];
    for (;;) {
      const { done, value } = this.#reading.next();
      if (done || value === undefined) return events;
      const last = events.at(-1);
      // Deltas that come together are one.
      if (
        last && "text" in last && "text" in value && last.type === value.type &&
        indexOf(last) === indexOf(value)
      ) events[events.length - 1] = { ...last, text: last.text + value.text };
      else events.push(value);
    }
  }
}

function indexOf(event: ChatEvent): number | undefined {
  return "index" in event ? event.index : undefined;
}

/** Nine letters and digits, which every template takes: Mistral's take no others. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  const digits =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return Array.from(bytes, (byte) => digits[byte % digits.length]).join("");
}
