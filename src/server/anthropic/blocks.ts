/** The blocks of a message: texts, thoughts and calls of tools, one after another. */
import { isObject, type JsonObject } from "../../formats/json.ts";
import type { ChatEvent } from "../../tokenizer/answer.ts";

/** Writes the parts of an answer as changes of blocks. */
export class BlockWriter {
  #index = -1;
  #open: unknown;
  #hasCalls = false;

  /** Whether a tool has been called. */
  get hasCalls(): boolean {
    return this.#hasCalls;
  }

  /** The changes that parts make. */
  *push(parts: Iterable<ChatEvent>): Generator<JsonObject, void, void> {
    for (const part of parts) {
      switch (part.type) {
        case "text":
          if (this.#open !== "text") yield* this.#begin(noText);
          yield this.#delta({ type: "text_delta", text: part.text });
          break;
        case "reasoning":
          if (this.#open !== "thinking") yield* this.#begin(noThought);
          yield this.#delta({ type: "thinking_delta", thinking: part.text });
          break;
        case "toolCall": {
          const { id, name } = part;
          const caller = { type: "direct" };
          this.#hasCalls = true;
          yield* this.#begin({ type: "tool_use", id, name, input: {}, caller });
          break;
        }
        case "arguments": {
          const { text: partial_json } = part;
          yield this.#delta({ type: "input_json_delta", partial_json });
          break;
        }
        case "toolCallEnd":
          yield* this.#end();
      }
    }
  }

  /** Ends the last block; a message has one at least. */
  *finish(): Generator<JsonObject, void, void> {
    if (this.#index < 0) yield* this.#begin(noText);
    yield* this.#end();
  }

  *#begin(block: JsonObject): Generator<JsonObject, void, void> {
    yield* this.#end();
    this.#index++;
    this.#open = block.type;
    yield {
      type: "content_block_start",
      index: this.#index,
      content_block: block,
    };
  }

  #delta(delta: JsonObject): JsonObject {
    return { type: "content_block_delta", index: this.#index, delta };
  }

  *#end(): Generator<JsonObject, void, void> {
    if (this.#open === undefined) return;
    // Clients keep no thought without one.
    if (this.#open === "thinking") {
      yield this.#delta({ type: "signature_delta", signature: "" });
    }
    this.#open = undefined;
    yield { type: "content_block_stop", index: this.#index };
  }
}

const noText = { type: "text", text: "", citations: null };

const noThought = { type: "thinking", thinking: "", signature: "" };

/** The blocks that changes make in the end; of a call that was cut short the input is empty. */
export function contentOf(changes: Iterable<JsonObject>): JsonObject[] {
  const blocks: JsonObject[] = [];
  for (const { type, content_block, delta } of changes) {
    if (type === "content_block_start") {
      blocks.push(content_block as JsonObject);
    }
    if (type !== "content_block_delta") continue;
    const block = blocks[blocks.length - 1];
    const [field, more] = Object.entries(delta as JsonObject)
      .find(([name]) => name !== "type")!;
    blocks[blocks.length - 1] = {
      ...block,
      [field]: `${block[field] ?? ""}${more}`,
    };
  }
  return blocks.map(({ partial_json, ...block }) =>
    partial_json === undefined
      ? block
      : { ...block, input: objectOf(String(partial_json)) }
  );
}

function objectOf(json: string): JsonObject {
  try {
    const value = JSON.parse(json);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}
