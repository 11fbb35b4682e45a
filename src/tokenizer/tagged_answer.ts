import type { AnswerFormat, AnswerReading } from "./answer.ts";
import { chunksOf, readMarker, readSome } from "./marker.ts";
import type { ReasoningFormat } from "./reasoning.ts";
import type { TextInput } from "./text_input.ts";
import { ToolCallReader } from "./tool_call_reader.ts";
import type { ToolCallFormat } from "./tool_format.ts";

/** What may stand before a call: markers, each in chunks. */
type Leads = readonly (readonly string[])[];

/** An answer with tags around its reasoning and its calls. */
export class TaggedAnswer {
  readonly #input: TextInput;
  readonly #reasoning: AnswerFormat["reasoning"];
  readonly #calls?: ToolCallFormat;
  readonly #leads: Leads;
  readonly #reader?: ToolCallReader;
  /** Whether the text so far ends with an empty line, or there is none */
  #isLineBlank = true;

  /** Begins before the answer's first piece. */
  constructor(
    input: TextInput,
    { reasoning, calls, tools }: AnswerFormat,
    newId: () => string,
  ) {
    this.#input = input;
    this.#reasoning = reasoning;
    this.#calls = calls;
    this.#leads = calls ? leadsOf(calls) : [];
    this.#reader = calls && new ToolCallReader(input, calls, tools, newId);
  }

  /** Reads it to its end. */
  *read(): AnswerReading<void> {
    const input = this.#input;
    const reasoning = this.#reasoning;
    if (reasoning && (yield* this.#beginsReasoning(reasoning))) {
      yield* input.skipSpace();
      yield* this.#part("reasoning", reasoning.end);
      yield* input.skipSpace();
    }
    input.drop();
    yield* this.#part("text");
  }

  *#beginsReasoning(
    { begin, isOpen }: ReasoningFormat & { readonly isOpen: boolean },
  ): AnswerReading<boolean> {
    yield* this.#input.skipSpace();
    // A model may repeat the tag that the prompt ended with.
    const isHere = (yield* readMarker(this.#input, chunksOf(begin))) || isOpen;
    if (!isHere) this.#input.at = 0;
    return isHere;
  }

  /**
   * Passes on what is text, up to `end` or the answer's end, with calls in it:
   * models leave the end of reasoning out before a call. White space around
   * tags goes.
   */
  *#part(type: "reasoning" | "text", end?: string): AnswerReading<void> {
    const input = this.#input;
    input.drop();
    const tags = this.#leads.filter((lead) => lead.length > 0)
      .map(([tag]) => tag);
    const stops = end === undefined ? tags : [end, ...tags];
    for (;;) {
      const found = this.#nextTag(stops);
      const unsure = input.ended ? 0 : input.unsure(stops);
      const sure = input.text.slice(0, found ?? input.text.length - unsure);
      const isHeld = found !== undefined || this.#holdsSpace(end);
      const shown = isHeld ? sure.trimEnd() : sure;
      yield* this.#show(type, shown.length);
      if (found === undefined) {
        if (input.ended) return;
        yield;
        continue;
      }
      input.at = found - shown.length;
      if (end !== undefined && (yield* input.literal(end))) return;
      // What is said of calls amid reasoning calls nothing.
      const mayCall = type === "text" || this.#isLineBlank ||
        input.text.slice(0, input.at).includes("\n");
      if (mayCall && (yield* this.#section())) {
        yield* input.skipSpace();
        input.drop();
        this.#isLineBlank = true;
        type = "text";
      } else yield* this.#show(type, found - shown.length + 1);
    }
  }

  /** Whether white space waits for what comes behind it. */
  #holdsSpace(end: string | undefined): boolean {
    return !this.#input.ended && (end !== undefined || this.#leads.length > 0);
  }

  /** Where a tag begins; or, where calls have none, a brace that begins a line. */
  #nextTag(tags: readonly string[]): number | undefined {
    const { text } = this.#input;
    const tag = this.#input.find(tags)?.at;
    if (!this.#leads.some((lead) => lead.length === 0)) return tag;
    for (
      let brace = text.indexOf("{");
      brace >= 0 && brace < (tag ?? Infinity);
      brace = text.indexOf("{", brace + 1)
    ) {
      const line = text.slice(text.lastIndexOf("\n", brace) + 1, brace);
      const isFirst = line.length === brace;
      if (line.trim() === "" && (!isFirst || this.#isLineBlank)) return brace;
    }
    return tag;
  }

  /** Passes this many of the input's first characters on. */
  *#show(type: "reasoning" | "text", length: number): AnswerReading<void> {
    const input = this.#input;
    const text = input.text.slice(0, length);
    input.at = length;
    input.drop();
    if (text === "") return;
    const line = text.slice(text.lastIndexOf("\n") + 1);
    const isBlank = line.trim() === "";
    this.#isLineBlank = isBlank && (line !== text || this.#isLineBlank);
    yield { type, text };
  }

  /** One call, and those that follow it; false, and nothing read, where there is none. */
  *#section(): AnswerReading<boolean> {
    const input = this.#input;
    const calls = this.#calls;
    const reader = this.#reader;
    if (!calls || !reader) return false;
    if (!(yield* this.#firstCall(reader))) return false;
    const before = chunksOf(calls.before);
    // Llama 3 puts a semicolon between calls that its template never writes.
    const between = chunksOf(calls.between ?? ";");
    for (;;) {
      yield* readSome(input, chunksOf(calls.after));
      const next = input.at;
      const follows = (yield* readMarker(input, between)) &&
        (yield* readMarker(input, before)) && (yield* reader.read());
      if (follows) continue;
      input.at = next;
      yield* readSome(input, chunksOf(calls.end));
      return true;
    }
  }

  *#firstCall(reader: ToolCallReader): AnswerReading<boolean> {
    const input = this.#input;
    const start = input.at;
    for (const lead of this.#leads) {
      input.at = start;
      const isCall = (yield* readMarker(input, lead)) &&
        (yield* reader.read());
      if (isCall) return true;
    }
    input.at = start;
    return false;
  }
}

/**
 * What may stand before the first call: the whole marker, or the end of it from
 * a tag on, as models leave the first tag out. The longest first.
 */
function leadsOf(calls: ToolCallFormat): Leads {
  const chunks = chunksOf(calls.begin + calls.before);
  if (chunks.length === 0) return calls.tag ? [[calls.tag], []] : [[]];
  return chunks.map((_, i) => chunks.slice(i))
    .filter(([first], i) => i === 0 || /^(<|\[[A-Z])/.test(first));
}
