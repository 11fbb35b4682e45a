/** Answers of gpt-oss: messages, each with a header that says its channel, and whom it is for. */
import type { JsonObject } from "../formats/json.ts";
import type { AnswerReading } from "./answer.ts";
import type { TextInput } from "./text_input.ts";

const start = "<|start|>";
const message = "<|message|>";
const ends = ["<|end|>", "<|call|>", "<|return|>", start];
const beginnings = ["<|channel|>", " to=", "to=", "<|constrain|>", message];

/** The tags of such answers. */
export const channelMarkers: readonly string[] = [
  ...ends,
  "<|channel|>",
  "<|constrain|>",
  message,
];

/** Reads an answer, behind `<|start|>assistant`. */
export function* harmonyAnswer(
  input: TextInput,
  tools: ReadonlyMap<string, JsonObject>,
  newId: () => string,
): AnswerReading<void> {
  let index = 0;
  while ((yield* input.peek()) !== undefined) {
    yield* input.literal(start);
    yield* input.literal("assistant");
    const header = yield* readHeader(input);
    const name = /to=functions\.([^\s<]+)/.exec(header)?.[1];
    const channel = header.match(/(?<=<\|channel\|>)\w+/g)?.at(-1);
    const isCall = name !== undefined && tools.has(name);
    if (isCall) yield { type: "toolCall", index, id: newId(), name };
    const type = channel === "analysis" ? "reasoning" : "text";
    for (let ended = false; !ended;) {
      const end = input.find(ends);
      const sure = end?.at ??
        input.text.length - (input.ended ? 0 : input.unsure(ends));
      const text = input.text.slice(input.at, sure);
      if (text !== "") {
        yield isCall ? { type: "arguments", index, text } : { type, text };
      }
      input.at = sure;
      if (end && end.text !== start) input.at += end.text.length;
      input.drop();
      ended = end !== undefined || input.ended;
      if (!ended) yield;
    }
    if (isCall) yield { type: "toolCallEnd", index: index++ };
  }
}

/** What stands before a message's text; nothing where there is no header. */
function* readHeader(input: TextInput): AnswerReading<string> {
  input.drop();
  while (!input.ended && beginnings.some((text) => mayBegin(input, text))) {
    yield;
  }
  if (!beginnings.some((text) => input.text.startsWith(text))) return "";
  while (!input.ended && !input.text.includes(message)) yield;
  const end = input.text.indexOf(message);
  if (end < 0) return "";
  const header = input.text.slice(0, end);
  input.at = end + message.length;
  input.drop();
  return header;
}

/** Whether too little has come to say that this does not come next. */
function mayBegin(input: TextInput, text: string): boolean {
  return input.text.length < text.length && text.startsWith(input.text);
}
