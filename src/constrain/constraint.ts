/**
 * What a text is held to while it is generated: JSON of a schema, a grammar, a
 * regex. A constraint says which tokens may come next, and takes the one that
 * does.
 */
import { type CulmError, UnsupportedError, UsageError } from "../errors.ts";
import { isObject } from "../formats/json.ts";
import { maskWords, type TokenMask } from "../sampling/token_mask.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ConstraintSpec } from "./constraint_spec.ts";
import type { JsonSchema, SchemaPart } from "./json_schema.ts";
import { programOf, schemaProgram } from "./program.ts";
import {
  type ConstraintRoom,
  type Program,
  roomOf,
  type RoomText,
} from "./room.ts";

/**
 * Begins a text that is held to something.
 *
 * @throws {UnsupportedError} naming what of a schema is not supported, and where, or what of a grammar or regex
 * @throws {UsageError} for a grammar that cannot be read
 * @throws {LimitError} for what takes more than the limits allow
 */
export async function makeConstraint(
  tokenizer: Tokenizer,
  spec: ConstraintSpec,
): Promise<Constraint> {
  const { key, program, parts } = programOf(spec, tokenizer);
  const room = await roomOf(tokenizer);
  try {
    return new Constraint(room, key, program);
  } catch (error) {
    const isRefused = error instanceof UnsupportedError;
    throw isRefused && findRefused(room, parts) || error;
  }
}

/** Parts of a schema that are tried one by one, and how long in all, in ms. */
const mostTried = 200, mostTriedMs = 200;

/** The error for the innermost part of a schema that is refused by itself. */
function findRefused(
  room: ConstraintRoom,
  parts: readonly SchemaPart[],
): CulmError | undefined {
  const start = performance.now();
  for (const { path, schema } of parts.slice(0, mostTried)) {
    if (performance.now() - start > mostTriedMs) return;
    try {
      const text = room.begin(path, schemaProgram(schema), false);
      room.forget(text);
    } catch (error) {
      if (!(error instanceof UnsupportedError)) return;
      const why = error.message.replace(/^Cannot constrain the text: /, "");
      return patternsOf(schema).every(isRegex)
        ? new UnsupportedError(
          `Cannot constrain to the JSON schema: ${path}: ${why}`,
        )
        : new UsageError(`Cannot use the JSON schema: ${path}: ${why}`);
    }
  }
}

/** The regular expressions of a part itself. */
function patternsOf(schema: JsonSchema): string[] {
  if (typeof schema === "boolean") return [];
  const { pattern, patternProperties } = schema;
  return [
    ...typeof pattern === "string" ? [pattern] : [],
    ...isObject(patternProperties) ? Object.keys(patternProperties) : [],
  ];
}

/** Whether it is one in JavaScript, whose regular expressions JSON Schema has. */
function isRegex(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}

/** One text, token after token. */
export class Constraint implements Disposable {
  #text: RoomText;
  readonly #taken: number[];
  #isOver = false;

  /** Begins with what `from` has taken, where that is given. */
  constructor(
    readonly room: ConstraintRoom,
    readonly key: string,
    readonly program: Program,
    from?: Constraint,
  ) {
    this.#taken = from ? [...from.#taken] : [];
    this.#text = from ? room.fork(from.#here()) : room.begin(key, program);
  }

  /**
   * Which tokens may come next. Those that end a text are among them where it may end.
   *
   * @throws {UnsupportedError} where none may, and the text may not end
   * @throws {LimitError} where it takes more than the limits allow to say
   */
  mask(): TokenMask {
    const { room } = this;
    const { tokenizer } = room;
    const { number } = this.#here();
    room.attempt((instance) => instance.compute(number));
    const words = maskWords(tokenizer.vocabSize);
    const mask = room.call(({ memory, mask }) =>
      new Uint32Array(memory.buffer, mask(), words).slice()
    );
    const mayEnd = this.mayEnd;
    for (const id of endsOf(tokenizer)) {
      if (mayEnd) mask[id >>> 5] |= 1 << (id & 31);
      else mask[id >>> 5] &= ~(1 << (id & 31));
    }
    if (mask.every((word) => word === 0)) {
      throw new UnsupportedError(
        "Cannot go on with the text: no token of the vocabulary may come next",
      );
    }
    return mask;
  }

  /**
   * Lengthens the text by a token. One that may not come next ends it.
   *
   * @throws {UnsupportedError} where it may not come next
   * @throws {LimitError} where what comes takes more than the limits allow
   */
  take(id: number): void {
    const { number } = this.#here();
    this.room.attempt((instance) => instance.take(number, id));
    this.#taken.push(id);
  }

  /** How many of these tokens, the first ones, may come next one after another; a token that ends the text is none. */
  countAllowed(ids: readonly number[]): number {
    const { number } = this.#here();
    return this.room.count(number, ids);
  }

  /** The bytes that come next whatever is chosen: the beginning of them, where they are many. */
  forcedBytes(): Uint8Array {
    const { number } = this.#here();
    return this.room.call(({ memory, force, forced }) => {
      const length = force(number);
      return new Uint8Array(memory.buffer, forced(), length).slice();
    });
  }

  /** Whether the text is whole. */
  get mayEnd(): boolean {
    const { number } = this.#here();
    return this.room.call((instance) => instance.may_end(number) !== 0);
  }

  /** Whether it is whole, and nothing may follow. */
  get mustEnd(): boolean {
    const { number } = this.#here();
    return this.room.call((instance) => instance.must_end(number) !== 0);
  }

  /** Takes the last tokens back. */
  rollBack(count: number): void {
    const { number } = this.#here();
    this.room.attempt((instance) => instance.roll_back(number, count));
    this.#taken.length -= count;
  }

  /** Another text that goes on from here. */
  fork(): Constraint {
    return new Constraint(this.room, this.key, this.program, this);
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.room.forget(this.#text);
  }

  /**
   * The text, which is written anew where another's failure has taken it along.
   *
   * @throws {UsageError} where it was disposed of: its number may be another's by now
   */
  #here(): RoomText {
    const { room } = this;
    if (this.#isOver) {
      throw new UsageError("Cannot go on with a text that was given up");
    }
    if (!room.isHere(this.#text)) {
      this.#text = room.begin(this.key, this.program);
      const { number } = this.#text;
      for (const id of this.#taken) {
        room.attempt((instance) => instance.take(number, id));
      }
    }
    return this.#text;
  }
}

const ends = new WeakMap<Tokenizer, readonly number[]>();

/** The tokens that end a text. */
function endsOf(tokenizer: Tokenizer): readonly number[] {
  const known = ends.get(tokenizer);
  if (known) return known;
  const found = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
    .filter((id) => tokenizer.isEndOfGeneration(id));
  ends.set(tokenizer, found);
  return found;
}
