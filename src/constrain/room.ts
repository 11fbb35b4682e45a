/**
 * Texts under their constraints, over one vocabulary.
 */
import { LimitError, UnsupportedError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type {
  ConstrainExports,
  Outcome,
} from "../../wasm-constrain/constrain.d.ts";
import { bytesOf, learn, messageOf, withBytes } from "./instance.ts";
import { learnVocabulary, type Vocabulary } from "./vocabulary.ts";

/** What a text is to be, in the module's terms. */
export type Program =
  /** llguidance's dialect of Lark */
  | { readonly lark: string }
  /** The words of `wasm-constrain/src/gbnf.rs` */
  | { readonly gbnf: Uint32Array };

/** Beginnings of texts that are kept, so that the next one like it need not be compiled. */
const mostKept = 16;

/** Bytes that an instance may have grown by before it is thrown away, once nobody uses it. */
const mostGrown = 64 * 2 ** 20;

const rooms = new WeakMap<Tokenizer, Promise<ConstraintRoom>>();

/** The room of a tokenizer, which all texts of its vocabulary share until it is lost. */
export async function roomOf(tokenizer: Tokenizer): Promise<ConstraintRoom> {
  const known = rooms.get(tokenizer);
  if (known && !(await known).isLost) return known;
  // Another may have asked meanwhile.
  const next = rooms.get(tokenizer);
  if (next && next !== known) return next;
  const room = learnVocabulary(tokenizer)
    .then((vocabulary) => new ConstraintRoom(vocabulary, tokenizer));
  rooms.set(tokenizer, room);
  room.catch(() => rooms.delete(tokenizer));
  return room;
}

/** A text in a room: its number, and the instance that knows it by that. */
export interface RoomText {
  readonly number: number;
  readonly instance: ConstrainExports;
}

/**
 * Texts under their constraints. An instance that fails is replaced; what it
 * knew is lost, and `isHere` then says so.
 */
export class ConstraintRoom {
  #current?: ConstrainExports;
  readonly #bytesAtFirst: number;
  readonly #known: Omit<Vocabulary, "instance">;
  /** Beginnings by what they were made of, those used last coming last */
  readonly #kept = new Map<string, number>();
  #texts = 0;

  /** Over the tokens of `tokenizer`. */
  constructor(
    vocabulary: Vocabulary,
    readonly tokenizer: Tokenizer,
  ) {
    const { instance, ...known } = vocabulary;
    this.#current = instance;
    this.#known = known;
    this.#bytesAtFirst = this.#current.memory.buffer.byteLength;
  }

  /** Whether its instance is lost: texts that are left get another, which keeps the thread busy meanwhile. */
  get isLost(): boolean {
    return this.#current === undefined;
  }

  /** Whether a text is still known. */
  isHere(text: RoomText): boolean {
    return text.instance === this.#current;
  }

  /**
   * An empty text. `key` stands for the program, whose beginning is kept for the
   * next text, unless `keeps` is false.
   *
   * @throws {UnsupportedError} for what no text can be made of
   * @throws {LimitError} where it takes too much
   */
  begin(key: string, program: Program, keeps = true): RoomText {
    if (!keeps) return this.#keep(this.#compile(program));
    const kept = this.#kept.get(key) ?? this.#compile(program);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (this.#kept.size > mostKept) {
      const [oldest, text] = this.#kept.entries().next().value!;
      this.#kept.delete(oldest);
      this.call((instance) => instance.forget(text));
    }
    return this.#keep(this.call((instance) => instance.fork(kept)));
  }

  /** A text that goes on from where another is. */
  fork({ number }: RoomText): RoomText {
    return this.#keep(this.call((instance) => instance.fork(number)));
  }

  /** Gives a text up. */
  forget(text: RoomText): void {
    if (!this.isHere(text)) return;
    this.call((instance) => instance.forget(text.number));
    const { byteLength } = text.instance.memory.buffer;
    const isLarge = byteLength > this.#bytesAtFirst + mostGrown;
    if (--this.#texts === 0 && isLarge) this.#drop();
  }

  /**
   * Calls the instance.
   *
   * @throws {UnsupportedError} where it fails; then another takes its place
   * @throws {LimitError} where its memory runs out
   */
  call<T>(act: (instance: ConstrainExports) => T): T {
    const instance = this.#instance();
    try {
      return act(instance);
    } catch (error) {
      // A trap, or a stack that is full.
      const isOwn = error instanceof WebAssembly.RuntimeError ||
        error instanceof RangeError;
      if (!isOwn) throw error;
      const mib = Math.round(instance.memory.buffer.byteLength / 2 ** 20);
      this.#drop();
      throw new LimitError(
        `Cannot constrain the text: what it is to be takes too much (${mib} MiB, ${error.message})`,
        { cause: error },
      );
    }
  }

  /**
   * Does what may be refused.
   *
   * @throws {UnsupportedError} where it is
   * @throws {LimitError} where it takes more than the limits allow
   */
  attempt(act: (instance: ConstrainExports) => Outcome): void {
    this.call((instance) => {
      const outcome = act(instance);
      if (outcome === 0) return;
      const message = `Cannot constrain the text: ${messageOf(instance)}`;
      throw outcome === 2
        ? new LimitError(message)
        : new UnsupportedError(message);
    });
  }

  /** How many of some tokens, the first ones, may come next in a text one after another. */
  count(text: number, ids: readonly number[]): number {
    const words = Uint32Array.from(ids);
    return this.call((instance) =>
      withBytes(
        instance,
        bytesOf(words),
        (pointer) => instance.count_allowed(text, pointer, words.length),
      )
    );
  }

  #keep(number: number): RoomText {
    this.#texts++;
    return { number, instance: this.#current! };
  }

  #compile(program: Program): number {
    return this.call((instance) => {
      const result = instance.allocate(4);
      try {
        this.attempt(() => {
          if ("lark" in program) {
            const bytes = new TextEncoder().encode(program.lark);
            return withBytes(
              instance,
              bytes,
              (pointer) => instance.begin_lark(pointer, bytes.length, result),
            );
          }
          const { gbnf } = program;
          return withBytes(
            instance,
            bytesOf(gbnf),
            (pointer) => instance.begin_gbnf(pointer, gbnf.length, result),
          );
        });
        return new Uint32Array(instance.memory.buffer, result, 1)[0];
      } finally {
        instance.release(result, 4);
      }
    });
  }

  #drop(): void {
    this.#current = undefined;
    this.#kept.clear();
    this.#texts = 0;
  }

  #instance(): ConstrainExports {
    if (this.#current) return this.#current;
    const { module, tokens } = this.#known;
    return this.#current = learn(module, tokens);
  }
}
