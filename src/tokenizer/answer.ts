/** Answers of models: what they are made of, and how they are written. */
import type { JsonObject } from "../formats/json.ts";
import type { ReasoningFormat } from "./reasoning.ts";
import type { ToolCallFormat } from "./tool_format.ts";

/** A piece of an answer. */
export type ChatEvent =
  | {
    /** What the model thinks before it answers, or what it says */
    readonly type: "reasoning" | "text";
    /** More of it */
    readonly text: string;
  }
  | {
    /** A tool is called */
    readonly type: "toolCall";
    /** Which of the answer's calls it is, from 0 */
    readonly index: number;
    /** What its result names it by */
    readonly id: string;
    /** The tool's name */
    readonly name: string;
  }
  | {
    /** More of a call's arguments */
    readonly type: "arguments";
    /** Which call */
    readonly index: number;
    /** All of a call's together are JSON, unless the answer was cut short */
    readonly text: string;
  }
  | {
    /** A call's arguments are complete */
    readonly type: "toolCallEnd";
    /** Which call */
    readonly index: number;
  };

/** How an answer is written. */
export interface AnswerFormat {
  /** Around reasoning, where the model thinks; it has begun in the prompt where `isOpen` */
  readonly reasoning?: ReasoningFormat & { readonly isOpen: boolean };
  /** How tools are called, where there are any */
  readonly calls?: ToolCallFormat;
  /** Whether the template writes calls; others' models were hardly trained for them */
  readonly knowsCalls: boolean;
  /** Schemas of the arguments, by the names of tools */
  readonly tools: ReadonlyMap<string, JsonObject>;
  /** Whether the answer has gpt-oss's channels, which `reasoning` and `calls` do not describe */
  readonly hasChannels: boolean;
}

/** Reads an answer: yields what was read, and undefined where it needs more text. */
export type AnswerReading<T> = Generator<ChatEvent | undefined, T, void>;

/** An answer as a whole. */
export interface WholeChatAnswer {
  /** What the model thought */
  readonly reasoning: string;
  /** What it says */
  readonly text: string;
  /** Which tools it calls, with arguments as JSON, unless the answer was cut short */
  readonly calls: readonly {
    readonly id: string;
    readonly name: string;
    readonly arguments: string;
  }[];
}

/** What the parts of an answer make together. */
export function joinAnswer(events: Iterable<ChatEvent>): WholeChatAnswer {
  const said = { reasoning: "", text: "" };
  const calls: { id: string; name: string; arguments: string }[] = [];
  for (const event of events) {
    switch (event.type) {
      case "reasoning":
      case "text":
        said[event.type] += event.text;
        break;
      case "toolCall":
        calls.push({ id: event.id, name: event.name, arguments: "" });
        break;
      case "arguments":
        calls[event.index].arguments += event.text;
    }
  }
  return { ...said, calls };
}
