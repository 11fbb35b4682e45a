/**
 * The WebAssembly that knows which tokens may come next, over one vocabulary.
 * It is fetched when it is first asked for.
 */
import { unpackText } from "../bytes/packed_text.ts";
import { LimitError, UnsupportedError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type {
  ConstrainExports,
  Outcome,
} from "../../wasm-constrain/constrain.d.ts";

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

let compiled: Promise<WebAssembly.Module> | undefined;

function compile(): Promise<WebAssembly.Module> {
  return compiled ??= import("../../wasm-constrain/constrain.js")
    .then(({ default: text }) => unpackText(text))
    .then((bytes) => WebAssembly.compile(bytes));
}

const rooms = new WeakMap<Tokenizer, Promise<ConstraintRoom>>();

/** The room of a tokenizer, which all texts of its vocabulary share. */
export function roomOf(tokenizer: Tokenizer): Promise<ConstraintRoom> {
  const room = rooms.get(tokenizer) ??
    compile().then((module) => new ConstraintRoom(module, tokenizer));
  rooms.set(tokenizer, room);
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
  #bytesAtFirst = 0;
  /** Beginnings by what they were made of, those used last coming last */
  readonly #kept = new Map<string, number>();
  #texts = 0;

  /** Over the tokens of `tokenizer`. */
  constructor(
    readonly module: WebAssembly.Module,
    readonly tokenizer: Tokenizer,
  ) {}

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
    const env = { now: () => performance.now() };
    const { exports } = new WebAssembly.Instance(this.module, { env });
    const instance = exports as unknown as ConstrainExports;
    this.#current = instance;
    learn(instance, this.tokenizer);
    this.#bytesAtFirst = instance.memory.buffer.byteLength;
    return instance;
  }
}

/** Gives an instance the bytes of each token; those that are no text have none. */
function learn(instance: ConstrainExports, tokenizer: Tokenizer): void {
  const { vocabSize } = tokenizer;
  const ids = Array.from({ length: vocabSize }, (_, id) => id);
  const isText = (id: number) =>
    !tokenizer.isSpecial(id) && !tokenizer.isEndOfGeneration(id);
  const none = new Uint8Array(0);
  const pieces = ids.map((id) => isText(id) ? tokenizer.pieceBytes(id) : none);
  const lengths = Uint32Array.from(pieces, ({ length }) => length);
  const all = new Uint8Array(lengths.reduce((a, b) => a + b, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  const end = ids.find((id) => tokenizer.isEndOfGeneration(id)) ?? 2 ** 32 - 1;
  const outcome = withBytes(
    instance,
    bytesOf(lengths),
    (lengthsAt) =>
      withBytes(
        instance,
        all,
        (bytesAt) => instance.learn(lengthsAt, vocabSize, bytesAt, end),
      ),
  );
  if (outcome !== 0) throw new UnsupportedError(messageOf(instance));
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Calls with bytes that lie in the instance's memory meanwhile. */
function withBytes<T>(
  instance: ConstrainExports,
  bytes: Uint8Array,
  act: (pointer: number) => T,
): T {
  const pointer = instance.allocate(bytes.length);
  new Uint8Array(instance.memory.buffer, pointer, bytes.length).set(bytes);
  const result = act(pointer);
  instance.release(pointer, bytes.length);
  return result;
}

/** Why a call failed, in one line: without the text that was compiled, which the caller has not written. */
function messageOf(instance: ConstrainExports): string {
  const { memory: { buffer } } = instance;
  const at = instance.message(), length = instance.message_length();
  const text = new TextDecoder().decode(new Uint8Array(buffer, at, length));
  return text.replaceAll(/^ *(\d+ \|.*| *\^+)$|<non-verbose\/>/gm, "")
    .replace(/^(at )?\d+\(\d+\): /, "")
    .replace(/^failed to compile JSON schema: /, "")
    .replace(
      /^\s*NoExtension(Bias)?\s*$/,
      "nothing may come next: what it is to be leads back to itself, or no text is that",
    )
    .replace(
      /^oneOf constraints .*/,
      "oneOf is supported where no two of its schemas can hold at once",
    )
    .replace(/regex parse error:[^]*error: /, "the regex cannot be read: ")
    .replaceAll(/\s+/g, " ").trim();
}
