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
  /** Schemas of the arguments, by the names of tools */
  readonly tools: ReadonlyMap<string, JsonObject>;
  /** Whether the answer has gpt-oss's channels, which `reasoning` and `calls` do not describe */
  readonly hasChannels: boolean;
}

/** Reads an answer: yields what was read, and undefined where it needs more text. */
export type AnswerReading<T> = Generator<ChatEvent | undefined, T, void>;
