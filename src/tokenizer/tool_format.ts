/**
 * How a model writes calls of tools, read off its chat template: the template
 * writes calls whose names and arguments are known, and what stands around
 * those is the format.
 *
 * @module
 */
import { isObject, type JsonObject } from "../formats/json.ts";
import type { ChatMessage } from "./chat_message.ts";
import { endings } from "./end_of_generation.ts";
import { JsonExtent } from "./json_extent.ts";
import { ANY_WORD } from "./marker.ts";
import { hasChannels, reasoningFormatOf } from "./reasoning.ts";

/** A call as an object, such as `{"name": "f", "arguments": {}}`. */
export interface ObjectCall {
  /** One object with both */
  readonly kind: "object";
  /** The member that holds the tool's name */
  readonly nameKey: string;
  /** The member that holds the arguments */
  readonly argumentsKey: string;
  /** What the template writes of it before the name */
  readonly head: string;
  /** The same between the name and the arguments */
  readonly middle: string;
  /** The same behind the arguments */
  readonly tail: string;
}

/** A name, and behind it the arguments as an object. */
export interface NamedCall {
  /** The name, then an object */
  readonly kind: "named";
  /** Between name and arguments */
  readonly afterName: string;
}

/** A name, and behind it each argument between tags. */
export interface TaggedCall {
  /** The name, then a pair of tags an argument */
  readonly kind: "tagged";
  /** Between name and arguments */
  readonly afterName: string;
  /** Before an argument's name */
  readonly beforeKey: string;
  /** Between an argument's name and its value */
  readonly afterKey: string;
  /** The same before a text, and before anything else, where that differs by a word */
  readonly afterKeys: readonly [text: string, other: string];
  /** Behind an argument's value */
  readonly afterValue: string;
}

/** How a model writes calls. Markers are as the template writes them, white space included; models are less exact. */
export interface ToolCallFormat {
  /** Before the first call of an answer */
  readonly begin: string;
  /** Before each call */
  readonly before: string;
  /** One call */
  readonly call: ObjectCall | NamedCall | TaggedCall;
  /** Behind each call */
  readonly after: string;
  /** Between two calls; undefined where an answer has one at most */
  readonly between?: string;
  /** Behind the last call of an answer */
  readonly end: string;
  /** What may stand before a call that has no marker of its own, such as `<|python_tag|>` */
  readonly tag?: string;
}

/** What a chat template does with tools by itself. */
export interface ToolSupport {
  /** How calls are written */
  readonly format: ToolCallFormat;
  /** Whether the template writes an answer's calls */
  readonly writesCalls: boolean;
  /** Whether the template tells the model which tools there are */
  readonly writesTools: boolean;
  /** Whether the template writes what tools have returned */
  readonly writesResults: boolean;
  /** What the template takes arguments as */
  readonly argumentsAs: "object" | "text";
  /** What the template takes an answer of calls alone for */
  readonly emptyContent: "" | null;
  /** Whether the template takes ids of nine letters and digits alone, as Mistral's do */
  readonly hasShortIds: boolean;
}

/** Writes messages by the template. */
export type RenderMessages = (
  messages: readonly ChatMessage[],
  tools: readonly JsonObject[],
) => string;

/** The format of Hermes and Qwen, for templates that know none. */
export const hermesFormat: ToolCallFormat = {
  begin: "",
  before: "<tool_call>\n",
  call: {
    kind: "object",
    nameKey: "name",
    argumentsKey: "arguments",
    head: '{"name": ',
    middle: ', "arguments": ',
    tail: "}",
  },
  after: "\n</tool_call>",
  between: "\n",
  end: "",
};

/** Granite 3's, whose template tells of tools, and writes no calls. */
const graniteFormat: ToolCallFormat = {
  ...hermesFormat,
  begin: "<|tool_call|>[",
  before: "",
  after: "",
  between: ", ",
  end: "]",
};

/** gpt-oss's, whose answers have parts of their own: `harmony.ts` reads them. */
export const harmonyFormat: ToolCallFormat = {
  begin: "",
  before: "<|channel|>commentary to=functions.",
  call: { kind: "named", afterName: " <|constrain|>json<|message|>" },
  after: "",
  end: "",
};

/** Calls whose parts are found again in what a template writes of them. */
const probes = [
  { name: "probe_alpha", id: "Aq3Zk9Xw1" },
  { name: "probe_beta", id: "bT7mVc2Ld" },
] as const;
const probeArguments = { key_one: "value_one", key_two: 40961 } as const;
const probeContent = "~probe content~";
const probeResult = "probe_result";
const longId = "call_0123456789abcdefABCDEF01";

const probeTools: readonly JsonObject[] = probes.map(({ name }) => ({
  type: "function",
  function: {
    name,
    description: "Probes.",
    parameters: {
      type: "object",
      properties: {
        key_one: { type: "string", description: "One." },
        key_two: { type: "integer", description: "Two." },
      },
      required: ["key_one", "key_two"],
    },
  },
}));

const user: ChatMessage = { role: "user", content: "Probe." };

type Form = Pick<ToolSupport, "argumentsAs" | "emptyContent">;

const forms: readonly Form[] = [
  { argumentsAs: "object", emptyContent: "" },
  { argumentsAs: "object", emptyContent: null },
  { argumentsAs: "text", emptyContent: "" },
  { argumentsAs: "text", emptyContent: null },
];

/** What a template does with tools, found out by having it write some. */
export function toolSupportOf(
  render: RenderMessages,
  source: string,
): ToolSupport {
  const tried = quietly(render);
  const toolsText = tried([user], probeTools) ?? "";
  const writesTools = toolsText.includes(probes[0].name);
  for (const form of forms) {
    const format = formatOf(tried, form, source);
    if (!format) continue;
    return {
      ...form,
      format: hasChannels(source) ? harmonyFormat : format,
      writesCalls: true,
      writesTools,
      writesResults: writesResult(tried, form, probes[0].id),
      hasShortIds: !writesResult(tried, form, longId) &&
        writesResult(tried, form, probes[0].id),
    };
  }
  return {
    format: source.includes("<|tool_call|>") ? graniteFormat : hermesFormat,
    writesCalls: false,
    writesTools,
    writesResults: false,
    argumentsAs: "object",
    emptyContent: "",
    hasShortIds: false,
  };
}

type TriedRender = (
  ...given: Parameters<RenderMessages>
) => string | undefined;

/** Templates refuse what they do not know. */
function quietly(render: RenderMessages): TriedRender {
  return (...given) => {
    try {
      return render(...given);
    } catch {
      return undefined;
    }
  };
}

/** An answer of the first calls. */
function answer(form: Form, ids: readonly string[]): ChatMessage {
  const given = form.argumentsAs === "object"
    ? probeArguments
    : JSON.stringify(probeArguments);
  return {
    role: "assistant",
    content: form.emptyContent as string,
    tool_calls: ids.map((id, i) => ({
      id,
      type: "function",
      function: { name: probes[i].name, arguments: given },
    })),
  };
}

function writesResult(render: TriedRender, form: Form, id: string): boolean {
  const { name } = probes[0];
  const result = { role: "tool", content: probeResult, tool_call_id: id, name };
  const messages = [user, answer(form, [id]), result];
  return render(messages, probeTools)?.includes(probeResult) ?? false;
}

/** The format that a template writes calls in, where it writes them in this form. */
function formatOf(
  render: TriedRender,
  form: Form,
  source: string,
): ToolCallFormat | undefined {
  const ids = probes.map(({ id }) => id);
  const around = aroundTwo(callsText(render, form, ids)) ??
    aroundOne(callsText(render, form, ids.slice(0, 1)));
  const written = around && formOf(around);
  if (!written) return undefined;
  const { before, between, end } = around;
  const begin = withoutReasoning(around.begin, source);
  const isBare = (begin + before).trim() === "";
  if (isBare && written.call.kind !== "object") return undefined;
  const python = "<|python_tag|>";
  const tag = isBare && source.includes(python) ? python : undefined;
  return { begin, before, ...written, between, end, tag };
}

/** What stands around the probes' calls. */
interface Around {
  readonly begin: string;
  readonly before: string;
  readonly first: FoundCall;
  readonly second?: FoundCall;
  /** Behind the call's last part */
  readonly behind: string;
  readonly between?: string;
  readonly end: string;
}

function aroundOne(text = ""): Around | undefined {
  const first = findCall(text, probes[0].name);
  if (!first) return undefined;
  const before = text.slice(0, first.start);
  const behind = withoutEnding(text.slice(first.end));
  return { begin: "", before, first, behind, end: "" };
}

/** What is around both is around each, and the rest around all of an answer's. */
function aroundTwo(text = ""): Around | undefined {
  const first = findCall(text, probes[0].name);
  const second = first && findCall(text, probes[1].name, first.end);
  if (!second) return undefined;
  const lead = text.slice(0, first.start);
  const middle = text.slice(first.end, second.start);
  const tail = withoutEnding(text.slice(second.end));
  const before = commonEnd(lead, middle);
  const begin = lead.slice(0, lead.length - before.length);
  const kept = middle.slice(0, middle.length - before.length);
  const behind = commonStart(kept, tail);
  const between = kept.slice(behind.length);
  const end = tail.slice(behind.length);
  return { begin, before, first, second, behind, between, end };
}

/** What a template writes for calls, where it writes an answer's text otherwise. */
function callsText(
  render: TriedRender,
  form: Form,
  ids: readonly string[],
): string | undefined {
  const written = render([user, answer(form, ids)], probeTools);
  const plain = { role: "assistant", content: probeContent };
  const other = render([user, plain], probeTools);
  if (written === undefined || other === undefined) return undefined;
  const start = commonStart(written, other).length;
  const end = commonEnd(written.slice(start), other.slice(start)).length;
  const calls = written.slice(start, written.length - end);
  return ids.reduce((text, id) => text.replaceAll(id, ANY_WORD), calls);
}

/** What stands inside a call, around its parts. */
interface Inner {
  readonly afterName: string;
  /** Between each key and its value, where keys have tags */
  readonly afterKeys?: readonly [string, string];
  /** Between the first value and the second key */
  readonly betweenPairs?: string;
}

interface FoundCall {
  readonly start: number;
  readonly end: number;
  readonly call: ObjectCall | "named" | "tagged";
  readonly inner: Inner;
}

/** A probe's call in a text: as an object, a name before one, or between tags. */
function findCall(
  text: string,
  name: string,
  from = 0,
): FoundCall | undefined {
  const at = text.indexOf(name, from);
  if (at < 0) return undefined;
  for (let start = at; (start = text.lastIndexOf("{", start - 1)) >= from;) {
    const object = objectAt(text, start);
    const nameKey = object && keyOf(object.value, (value) => value === name);
    const argumentsKey = object && keyOf(object.value, isProbeArguments);
    const brace = text.lastIndexOf("{", text.indexOf('"key_one"', start));
    const close = JsonExtent.endOf(text, brace);
    if (nameKey && argumentsKey && close !== undefined && brace > at) {
      const [before, behind] = [at - 1, at + name.length + 1];
      const call = {
        kind: "object",
        nameKey,
        argumentsKey,
        head: text.slice(start, before),
        middle: text.slice(behind, brace),
        tail: text.slice(close, object.end),
      } as const;
      return { start, end: object.end, call, inner: { afterName: "" } };
    }
    if (start === 0) break;
  }
  const nameEnd = at + name.length;
  const brace = text.indexOf("{", nameEnd);
  const object = brace < 0 ? undefined : objectAt(text, brace);
  if (object && isProbeArguments(object.value)) {
    const inner = { afterName: text.slice(nameEnd, brace) };
    return { start: at, end: object.end, call: "named", inner };
  }
  const parts = Object.entries(probeArguments).flat().map(String);
  const places: [start: number, end: number][] = [];
  let end = nameEnd;
  for (const part of parts) {
    const start = text.indexOf(part, end);
    if (start < 0) return undefined;
    end = start + part.length;
    places.push([start, end]);
  }
  const [key, value, nextKey, nextValue] = places;
  const inner: Inner = {
    afterName: text.slice(nameEnd, key[0]),
    afterKeys: [
      text.slice(key[1], value[0]),
      text.slice(nextKey[1], nextValue[0]),
    ],
    betweenPairs: text.slice(value[1], nextKey[0]),
  };
  return { start: at, end, call: "tagged", inner };
}

/** A call's form, and what stands behind one. */
function formOf(
  { first, second, behind }: Around,
): Pick<ToolCallFormat, "call" | "after"> | undefined {
  const { call, inner } = first;
  if (typeof call !== "string") {
    const other = typeof second?.call === "object" ? second.call : call;
    const head = withAnyWord(call.head, other.head);
    const middle = withAnyWord(call.middle, other.middle);
    const tail = withAnyWord(call.tail, other.tail);
    return { call: { ...call, head, middle, tail }, after: behind };
  }
  const afterName = withAnyWord(
    inner.afterName,
    (second ?? first).inner.afterName,
  );
  const { afterKeys, betweenPairs = "" } = inner;
  if (!afterKeys) return { call: { kind: "named", afterName }, after: behind };
  const beforeKey = commonEnd(afterName, betweenPairs);
  const pairs = betweenPairs.slice(0, betweenPairs.length - beforeKey.length);
  const afterValue = commonStart(pairs, behind);
  // Values that nothing ends, as in calls written as code, cannot be read.
  if (beforeKey.trim() === "" || afterValue.trim() === "") return undefined;
  const after = behind.slice(afterValue.length);
  // A tag named after the argument is no marker.
  if (after.includes("key_two")) return undefined;
  return {
    call: {
      kind: "tagged",
      afterName: afterName.slice(0, afterName.length - beforeKey.length),
      beforeKey,
      afterKey: withAnyWord(...afterKeys),
      afterKeys,
      afterValue,
    },
    after,
  };
}

function objectAt(
  text: string,
  start: number,
): { value: JsonObject; end: number } | undefined {
  const end = JsonExtent.endOf(text, start);
  if (end === undefined) return undefined;
  try {
    const value = JSON.parse(text.slice(start, end));
    return isObject(value) ? { value, end } : undefined;
  } catch {
    return undefined;
  }
}

function keyOf(
  object: JsonObject,
  isIt: (value: unknown) => boolean,
): string | undefined {
  return Object.keys(object).find((key) => isIt(object[key]));
}

function isProbeArguments(value: unknown): boolean {
  return isObject(value) && Object.entries(probeArguments)
    .every(([key, expected]) => value[key] === expected);
}

/** A marker that two calls write alike, or differ in by one word. */
function withAnyWord(one: string, other: string): string {
  if (one === other) return one;
  const start = commonStart(one, other).replace(/\w+$/, "");
  const end = commonEnd(one.slice(start.length), other.slice(start.length))
    .replace(/^\w+/, "");
  return start + ANY_WORD + end;
}

/** How both texts begin, up to a tag that differs. */
function commonStart(one: string, other: string): string {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length++;
  if (length === one.length && length === other.length) return one;
  const cut = [one, other].map((text) => tagAround(text, length)?.[0]);
  return one.slice(0, Math.min(length, ...cut.map((start) => start ?? length)));
}

/** How both texts end, from behind a tag that differs. */
function commonEnd(one: string, other: string): string {
  let length = 0;
  const most = Math.min(one.length, other.length);
  while (length < most && one.at(-1 - length) === other.at(-1 - length)) {
    length++;
  }
  const kept = [one, other].map((text) => {
    const tag = tagAround(text, text.length - length);
    return tag ? text.length - tag[1] : length;
  });
  return one.slice(one.length - Math.min(length, ...kept));
}

/** Where a tag such as `<tool_call>` or `[ARGS]` begins and ends that a cut goes through. */
function tagAround(text: string, cut: number): [number, number] | undefined {
  for (const { index, 0: tag } of text.matchAll(/<[^<>]*>|\[\/?[A-Z_]+\]/g)) {
    const end = index + tag.length;
    if (index < cut && cut < end) return [index, end];
  }
  return undefined;
}

/** A marker without the reasoning before it, which is empty where calls are alone. */
function withoutReasoning(marker: string, source: string): string {
  const end = reasoningFormatOf(source)?.end;
  return end === undefined ? marker : marker.split(end).at(-1)!;
}

/** A marker up to a token that ends an answer: what is behind is no text of it. */
function withoutEnding(marker: string): string {
  const starts = endings.map((text) => marker.indexOf(text))
    .filter((start) => start >= 0);
  return marker.slice(0, Math.min(marker.length, ...starts));
}
