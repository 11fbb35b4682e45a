import type { JsonObject } from "../formats/json.ts";
import { ANY_WORD } from "./marker.ts";
import type { ToolCallFormat } from "./tool_format.ts";

/** A call of a tool. */
export interface ToolCall {
  /** What its result names it by */
  readonly id: string;
  /** The tool's name */
  readonly name: string;
  /** The arguments; a text where a model wrote what is no JSON */
  readonly arguments: JsonObject | string;
}

/** Calls as a model writes them. */
export function writeCalls(
  format: ToolCallFormat,
  calls: readonly ToolCall[],
): string {
  const { begin, before, after, between = "\n", end } = format;
  const written = calls.map((call) => {
    const marked = before + writeCall(format, call) + after;
    return marked.replaceAll(ANY_WORD, call.id);
  });
  return begin + written.join(between) + end;
}

function writeCall(
  { call }: ToolCallFormat,
  { name, arguments: given }: ToolCall,
): string {
  const json = typeof given === "string" ? given : spaced(given);
  switch (call.kind) {
    case "object":
      return call.head + quoted(name) + call.middle + json + call.tail;
    case "named":
      return name + call.afterName + json;
    case "tagged": {
      const pairs = typeof given === "string" ? [] : Object.entries(given);
      const written = pairs.map(([key, value]) => {
        const isText = typeof value === "string";
        return call.beforeKey + key + call.afterKeys[isText ? 0 : 1] +
          (isText ? value : spaced(value)) + call.afterValue;
      });
      return name + call.afterName + written.join("");
    }
  }
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

/** JSON with spaces where Python puts them, as models have seen it. */
export function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (typeof value !== "object" || value === null) {
    return JSON.stringify(value) ?? "null";
  }
  const members = Object.entries(value)
    .map(([key, member]) => `${quoted(key)}: ${spaced(member)}`);
  return `{${members.join(", ")}}`;
}
