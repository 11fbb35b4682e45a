import { isObject, type JsonObject } from "../formats/json.ts";
import type { AnswerFormat, AnswerReading, ChatEvent } from "./answer.ts";
import { JsonExtent } from "./json_extent.ts";
import { chunksOf, classOf, readMarker, readSome } from "./marker.ts";
import type { Reading, TextInput } from "./text_input.ts";
import type { ObjectCall, TaggedCall, ToolCallFormat } from "./tool_format.ts";

/** Reads calls of tools, one after another. */
export class ToolCallReader {
  readonly #input: TextInput;
  readonly #format: ToolCallFormat;
  readonly #tools: AnswerFormat["tools"];
  readonly #newId: () => string;
  #count = 0;

  /** Begins before the first call. */
  constructor(
    input: TextInput,
    format: ToolCallFormat,
    tools: AnswerFormat["tools"],
    newId: () => string,
  ) {
    this.#input = input;
    this.#format = format;
    this.#tools = tools;
    this.#newId = newId;
  }

  /** One call, behind its marker; false where it is none of a tool that is there. */
  *read(): AnswerReading<boolean> {
    const input = this.#input;
    const { call } = this.#format;
    yield* input.skipSpace();
    if (call.kind === "object") return yield* this.#objectCall(call);
    const name = yield* input.until(/[\s<>{}"'[\](),|:=]/);
    if (!this.#tools.has(name)) return false;
    if (!(yield* readMarker(input, chunksOf(call.afterName)))) return false;
    if (call.kind === "tagged") yield* this.#taggedArguments(name, call);
    else {
      yield* input.skipSpace();
      if ((yield* input.peek()) !== "{") return false;
      yield* this.#arguments(name);
    }
    return true;
  }

  /** A call as one object. Its members may come in any order. */
  *#objectCall(call: ObjectCall): AnswerReading<boolean> {
    const input = this.#input;
    const members = new Map<string, string>();
    let hasBegun = false;
    if (!(yield* input.literal("{"))) return false;
    yield* input.skipSpace();
    while (!(yield* input.literal("}"))) {
      const key = yield* this.#key(members.size > 0 || hasBegun);
      const isArguments = key === call.argumentsKey || key === "arguments" ||
        key === "parameters";
      const name = this.#nameIn(members.get(call.nameKey));
      if (isArguments && !hasBegun && name !== undefined) {
        hasBegun = (yield* input.peek()) === "{";
        if (hasBegun) {
          yield* this.#arguments(name);
          yield* input.skipSpace();
          continue;
        }
      }
      const value = key === undefined ? undefined : yield* this.#json();
      const isNone = parsed(value) === undefined ||
        key === call.nameKey && this.#nameIn(value) === undefined ||
        this.#isBare && !isArguments && !/^(\w*name|\w*id|type)$/.test(key!);
      if (isNone) {
        // Behind complete arguments a call may break off.
        if (hasBegun) input.at = 0;
        return hasBegun;
      }
      members.set(isArguments ? call.argumentsKey : key!, value!);
      yield* input.skipSpace();
    }
    if (hasBegun) return true;
    const name = this.#nameIn(members.get(call.nameKey));
    const given = argumentsOf(members.get(call.argumentsKey));
    if (name === undefined || given === undefined) return false;
    const index = yield* this.#begin(name);
    yield { type: "arguments", index, text: given };
    yield { type: "toolCallEnd", index };
    return true;
  }

  /** A member's name, and the colon behind it. */
  *#key(isNext: boolean): Reading<string | undefined> {
    const input = this.#input;
    if (isNext && !(yield* input.literal(","))) return undefined;
    yield* input.skipSpace();
    const key = parsed(yield* this.#json());
    yield* input.skipSpace();
    if (typeof key !== "string" || !(yield* input.literal(":"))) {
      return undefined;
    }
    yield* input.skipSpace();
    return key;
  }

  /** Whether nothing but its members tells a call from other objects. */
  get #isBare(): boolean {
    return this.#format.begin + this.#format.before === "";
  }

  /** The name of a tool that is there, in a JSON text. */
  #nameIn(json: string | undefined): string | undefined {
    const name = parsed(json);
    return typeof name === "string" && this.#tools.has(name) ? name : undefined;
  }

  /** Arguments between tags, as JSON. */
  *#taggedArguments(name: string, call: TaggedCall): AnswerReading<void> {
    const input = this.#input;
    const index = yield* this.#begin(name);
    const more = (text: string): ChatEvent => ({
      type: "arguments",
      index,
      text,
    });
    const [closer, ...behind] = chunksOf(call.afterValue);
    const [opener] = chunksOf(call.afterKey);
    let lead = "{";
    while (yield* readMarker(input, chunksOf(call.beforeKey))) {
      yield* input.skipSpace();
      const key = (yield* input.until(classOf("\\n", opener[0])))
        .trim();
      if (!(yield* readMarker(input, chunksOf(call.afterKey)))) break;
      yield more(`${lead}${JSON.stringify(key)}:`);
      lead = ",";
      const isWhole = isTextProperty(this.#tools.get(name), key)
        ? yield* this.#textValue(call, closer, more)
        : yield* this.#jsonValue(closer, more);
      if (!isWhole) return;
      yield* readSome(input, behind);
      input.drop();
    }
    yield more(lead === "{" ? "{}" : "}");
    yield { type: "toolCallEnd", index };
  }

  /** A value that is a text, written as it is. */
  *#textValue(
    { afterKey, afterValue }: TaggedCall,
    closer: string,
    more: (text: string) => ChatEvent,
  ): AnswerReading<boolean> {
    const input = this.#input;
    if (/\n$/.test(afterKey)) yield* input.literal("\n");
    input.drop();
    yield more('"');
    const closers = /^\n/.test(afterValue) ? [`\n${closer}`, closer] : [closer];
    for (;;) {
      const found = input.find(closers);
      const sure = found?.at ??
        input.text.length - (input.ended ? 0 : input.unsure(closers));
      const text = input.text.slice(0, sure);
      if (text !== "") yield more(JSON.stringify(text).slice(1, -1));
      input.at = sure + (found?.text.length ?? 0);
      input.drop();
      if (found) {
        yield more('"');
        return true;
      }
      if (input.ended) return false;
      yield;
    }
  }

  /** A value that is JSON; what is none is a text. */
  *#jsonValue(
    closer: string,
    more: (text: string) => ChatEvent,
  ): AnswerReading<boolean> {
    const input = this.#input;
    input.drop();
    let found;
    while (!(found = input.find([closer])) && !input.ended) yield;
    const end = found?.at ?? input.text.length;
    const text = input.text.slice(0, end).trim();
    input.at = end + (found ? closer.length : 0);
    input.drop();
    if (!found) {
      if (text !== "") yield more(text);
      return false;
    }
    const python: Record<string, string> = {
      True: "true",
      False: "false",
      None: "null",
    };
    const json = Object.hasOwn(python, text) ? python[text] : text;
    yield more(parsed(json) === undefined ? JSON.stringify(text) : json);
    return true;
  }

  /** Begins a call, and passes its arguments on as they are written, up to where they end or are no JSON. */
  *#arguments(name: string): AnswerReading<void> {
    const input = this.#input;
    const index = yield* this.#begin(name);
    const extent = new JsonExtent();
    for (;;) {
      let verdict: ReturnType<JsonExtent["push"]> = "inside";
      while (verdict === "inside" && input.at < input.text.length) {
        verdict = extent.push(input.text[input.at]);
        if (verdict === "inside" || verdict === "ended") input.at++;
      }
      const text = input.text.slice(0, input.at);
      input.drop();
      if (text !== "") yield { type: "arguments", index, text };
      if (verdict === "ended") yield { type: "toolCallEnd", index };
      if (verdict !== "inside" || input.ended) return;
      yield;
    }
  }

  /** A JSON value as it is written; undefined where there is none, or it does not end. */
  *#json(): Reading<string | undefined> {
    const input = this.#input;
    const start = input.at;
    const extent = new JsonExtent();
    for (let next; (next = yield* input.peek()) !== undefined; input.at++) {
      const verdict = extent.push(next);
      if (verdict === "inside") continue;
      if (verdict === "wrong") return undefined;
      if (verdict === "ended") input.at++;
      return input.text.slice(start, input.at);
    }
    return undefined;
  }

  *#begin(name: string): AnswerReading<number> {
    this.#input.drop();
    const index = this.#count++;
    yield { type: "toolCall", index, id: this.#newId(), name };
    return index;
  }
}

function parsed(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Arguments as an object: it may stand in a text, and none are the same as an empty one. */
function argumentsOf(json = "{}"): string | undefined {
  const value = parsed(json);
  if (isObject(value)) return json;
  if (value === null) return "{}";
  return typeof value === "string" && isObject(parsed(value))
    ? value
    : undefined;
}

/** Whether the schema of a tool's arguments has a text here, and nothing else. */
function isTextProperty(schema: JsonObject | undefined, key: string): boolean {
  const properties = schema?.properties;
  if (!isObject(properties) || !Object.hasOwn(properties, key)) return false;
  const property = properties[key];
  if (!isObject(property)) return false;
  const { type, enum: values } = property;
  if (type !== undefined) return type === "string";
  return Array.isArray(values) &&
    values.every((value) => typeof value === "string");
}
