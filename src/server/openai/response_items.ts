/** The items of a response: thoughts, messages and calls of tools, one after another. */
import type { JsonObject } from "../../formats/json.ts";
import type { ChatEvent } from "../../tokenizer/answer.ts";
import { newId } from "../new_id.ts";
import type { ChatLogprob } from "./logprobs.ts";

/** How an item ends. */
export type ItemStatus = "completed" | "incomplete";

/** An item that is being written. */
interface OpenItem {
  readonly type: "message" | "reasoning" | "function_call";
  readonly id: string;
  /** What it has beside its text */
  readonly fields: JsonObject;
  text: string;
  readonly logprobs: ChatLogprob[];
}

/** Writes the parts of an answer as events that change items; they lack their numbers. */
export class ItemWriter {
  readonly #output: JsonObject[] = [];
  #open: OpenItem | undefined;
  #reasoningTokens = 0;
  /** Of tokens whose text comes later */
  #logprobs: ChatLogprob[] = [];

  /** The items that are complete. */
  get output(): readonly JsonObject[] {
    return this.#output;
  }

  /** Tokens of thoughts, without the tags around them. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  /** What the next token changes; `parts` is what became known of the text by it. */
  *push(
    parts: Iterable<ChatEvent>,
    logprobs: readonly ChatLogprob[] = [],
  ): Generator<JsonObject, void, void> {
    this.#logprobs.push(...logprobs);
    for (const part of parts) yield* this.#part(part);
    if (this.#open?.type === "reasoning") this.#reasoningTokens++;
    if (this.#open && this.#open.type !== "message") this.#logprobs = [];
  }

  /** Ends the last item; a response has one at least. */
  *finish(
    parts: Iterable<ChatEvent>,
    status: ItemStatus,
  ): Generator<JsonObject, void, void> {
    for (const part of parts) yield* this.#part(part);
    if (this.#output.length === 0) yield* this.#item("message");
    yield* this.#end(status);
  }

  *#part(part: ChatEvent): Generator<JsonObject, void, void> {
    switch (part.type) {
      case "text": {
        const item = yield* this.#item("message");
        const logprobs = this.#logprobs;
        this.#logprobs = [];
        item.logprobs.push(...logprobs);
        yield this.#delta("output_text", part.text, { logprobs });
        break;
      }
      case "reasoning":
        yield* this.#item("reasoning");
        yield this.#delta("reasoning_text", part.text);
        break;
      case "toolCall": {
        const { id: call_id, name } = part;
        yield* this.#end();
        yield* this.#item("function_call", { call_id, name });
        break;
      }
      case "arguments":
        yield this.#delta("function_call_arguments", part.text);
        break;
      case "toolCallEnd":
        yield* this.#end();
    }
  }

  /** The item that is open, if it is of this kind; else a new one. */
  *#item(
    type: OpenItem["type"],
    fields: JsonObject = {},
  ): Generator<JsonObject, OpenItem, void> {
    if (this.#open?.type === type) return this.#open;
    yield* this.#end();
    const id = newId(prefixes[type]);
    const item: OpenItem = { type, id, fields, text: "", logprobs: [] };
    this.#open = item;
    yield this.#event("output_item.added", {
      item: itemOf(item, "in_progress"),
    });
    const part = partOf(item);
    if (part) yield this.#event("content_part.added", { ...this.#at(), part });
    return item;
  }

  #delta(name: string, delta: string, more: JsonObject = {}): JsonObject {
    this.#open!.text += delta;
    return this.#event(`${name}.delta`, { ...this.#at(), delta, ...more });
  }

  /** Ends the item that is open, if one is. */
  *#end(status: ItemStatus = "completed"): Generator<JsonObject, void, void> {
    const item = this.#open;
    if (!item) return;
    const at = this.#at();
    const { text, logprobs } = item;
    switch (item.type) {
      case "message":
        yield this.#event("output_text.done", { ...at, text, logprobs });
        break;
      case "reasoning":
        yield this.#event("reasoning_text.done", { ...at, text });
        break;
      case "function_call":
        yield this.#event("function_call_arguments.done", {
          ...at,
          name: item.fields.name,
          arguments: text,
        });
    }
    const part = partOf(item);
    if (part) yield this.#event("content_part.done", { ...at, part });
    const isCut = item.type === "function_call" && !isJson(text);
    const whole = itemOf(item, isCut ? "incomplete" : status);
    yield this.#event("output_item.done", { item: whole });
    this.#output.push(whole);
    this.#open = undefined;
  }

  /** Where the open item's text stands. */
  #at(): JsonObject {
    const { id, type } = this.#open!;
    return {
      item_id: id,
      ...type !== "function_call" && { content_index: 0 },
    };
  }

  #event(name: string, fields: JsonObject): JsonObject {
    const output_index = this.#output.length;
    return { type: `response.${name}`, output_index, ...fields };
  }
}

/** Whether the arguments of a call are complete. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const prefixes = { message: "msg_", reasoning: "rs_", function_call: "fc_" };

/** The part of an item's content that its text is; calls have none. */
function partOf({ type, text, logprobs }: OpenItem): JsonObject | undefined {
  switch (type) {
    case "message":
      return {
        type: "output_text",
        text,
        annotations: [],
        logprobs: [...logprobs],
      };
    case "reasoning":
      return { type: "reasoning_text", text };
    case "function_call":
      return undefined;
  }
}

function itemOf(
  item: OpenItem,
  status: ItemStatus | "in_progress",
): JsonObject {
  const { type, id, fields, text } = item;
  const content = status === "in_progress" ? [] : [partOf(item)];
  switch (type) {
    case "message":
      return { type, id, status, role: "assistant", content };
    case "reasoning":
      return { type, id, summary: [], content };
    case "function_call":
      return { type, id, status, ...fields, arguments: text };
  }
}
