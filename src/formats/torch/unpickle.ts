/**
 * Reads Python pickles as data. Nothing is executed: what a pickle may call is a
 * fixed list of functions written here, and every other name is refused.
 */
import { viewOf } from "../../bytes/byte_source.ts";
import { FormatError, LimitError, UnsupportedError } from "../../errors.ts";
import { printable } from "../gguf/header_cursor.ts";

/** A value of a pickle: dicts are maps, tuples and lists are arrays, whole numbers beyond 2^53 bigints. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | object;

/** Stands for a function of Python; it gets whatever the pickle gives it, unchecked. */
export type PickleFunction = (args: readonly PickleValue[]) => PickleValue;

/** What a pickle may refer to. */
export interface PickleWorld {
  /** What to call the pickle in messages */
  readonly name: string;
  /** Functions that it may call, by `module.name` */
  readonly functions: ReadonlyMap<string, PickleFunction>;
  /** Names that may be mentioned, and come as {@linkcode Named} */
  readonly names: ReadonlySet<string>;
  /** The object that a persistent id stands for */
  readonly persistent: (id: PickleValue) => PickleValue;
}

/** A class or function of Python, which is a name here and nothing more. */
export class Named {
  /** Takes the name, `module.name`. */
  constructor(readonly name: string) {}
}

/** Marks where the items of a tuple, a list or a dict begin on the stack. */
const mark = Symbol("mark");
type Slot = PickleValue | typeof mark;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** The longest whole number that is read, in bytes. */
const longestNumber = 64;
const newestProtocol = 5;
/** The most steps of a pickle, each of which may make a value: a tensor takes some 60. */
const mostSteps = 2 ** 18;
/** The opcode that ends a pickle. */
const STOP = 0x2e;

/**
 * Reads one pickle, and reports where it ends, for another may follow. Takes time
 * and memory in proportion to its bytes.
 *
 * @param start offset of its first byte
 * @throws {FormatError} where it is cut or damaged
 * @throws {UnsupportedError} where it names what is not on the list, by that name
 * @throws {LimitError} where it has more than 2^18 steps
 */
export function unpickle(
  bytes: Uint8Array,
  world: PickleWorld,
  start = 0,
): { value: PickleValue; end: number } {
  const machine = new PickleMachine(bytes, world, start);
  return { value: machine.run(), end: machine.position };
}

class PickleMachine {
  /** What each opcode does; the names are those of Python's pickle module. */
  static readonly #steps = new Map<number, (m: PickleMachine) => unknown>([
    [0x28, (m) => m.#stack.push(mark)], // MARK
    [0x29, (m) => m.#push([])], // EMPTY_TUPLE
    [0x30, (m) => m.#stack.pop()], // POP
    [0x31, (m) => m.#popToMark()], // POP_MARK
    [0x47, (m) => m.#push(m.#view.getFloat64(m.#skip(8)))], // BINFLOAT
    [0x4a, (m) => m.#push(m.#view.getInt32(m.#skip(4), true))], // BININT
    [0x4b, (m) => m.#push(m.#uint8())], // BININT1
    [0x4d, (m) => m.#push(m.#view.getUint16(m.#skip(2), true))], // BININT2
    [0x4e, (m) => m.#push(null)], // NONE
    [0x51, (m) => m.#push(m.world.persistent(m.#pop()))], // BINPERSID
    [0x52, (m) => m.#call()], // REDUCE
    [0x54, (m) => m.#push(m.#text(m.#length(4)))], // BINSTRING
    [0x55, (m) => m.#push(m.#text(m.#uint8()))], // SHORT_BINSTRING
    [0x58, (m) => m.#push(m.#text(m.#length(4)))], // BINUNICODE
    [0x5d, (m) => m.#push([])], // EMPTY_LIST
    [0x61, (m) => m.#append(m.#popSome(1))], // APPEND
    [0x62, (m) => m.#build()], // BUILD
    [0x63, (m) => m.#named([m.#line(), m.#line()])], // GLOBAL
    [0x65, (m) => m.#append(m.#popToMark())], // APPENDS
    [0x68, (m) => m.#recall(m.#uint8())], // BINGET
    [0x6a, (m) => m.#recall(m.#length(4))], // LONG_BINGET
    [0x71, (m) => m.#remember(m.#uint8())], // BINPUT
    [0x72, (m) => m.#remember(m.#length(4))], // LONG_BINPUT
    [0x73, (m) => m.#setItems(m.#popSome(2))], // SETITEM
    [0x74, (m) => m.#push(m.#popToMark())], // TUPLE
    [0x75, (m) => m.#setItems(m.#popToMark())], // SETITEMS
    [0x7d, (m) => m.#push(new Map())], // EMPTY_DICT
    [0x80, (m) => m.#checkProtocol(m.#uint8())], // PROTO
    [0x85, (m) => m.#push(m.#popSome(1))], // TUPLE1
    [0x86, (m) => m.#push(m.#popSome(2))], // TUPLE2
    [0x87, (m) => m.#push(m.#popSome(3))], // TUPLE3
    [0x88, (m) => m.#push(true)], // NEWTRUE
    [0x89, (m) => m.#push(false)], // NEWFALSE
    [0x8a, (m) => m.#push(m.#long(m.#uint8()))], // LONG1
    [0x8b, (m) => m.#push(m.#long(m.#length(4)))], // LONG4
    [0x8c, (m) => m.#push(m.#text(m.#uint8()))], // SHORT_BINUNICODE
    [0x8d, (m) => m.#push(m.#text(m.#length(8)))], // BINUNICODE8
    [0x93, (m) => m.#named(m.#popSome(2))], // STACK_GLOBAL
    [0x94, (m) => m.#remember(m.#memo.size)], // MEMOIZE
    [0x95, (m) => m.#length(8)], // FRAME
  ]);

  readonly #view: DataView;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(
    readonly bytes: Uint8Array,
    readonly world: PickleWorld,
    public position: number,
  ) {
    this.#view = viewOf(bytes);
  }

  run(): PickleValue {
    for (let steps = 0; steps < mostSteps; steps++) {
      const code = this.#uint8();
      if (code === STOP) return this.#pop();
      const step = PickleMachine.#steps.get(code);
      if (!step) {
        throw this.#damaged(
          `byte 0x${code.toString(16)} at ${this.position - 1} is no opcode`,
        );
      }
      step(this);
    }
    throw new LimitError(
      `Cannot read ${this.world.name}: its pickle has more than ${mostSteps} steps`,
    );
  }

  #checkProtocol(protocol: number): void {
    if (protocol > newestProtocol) {
      throw new UnsupportedError(
        `Cannot read ${this.world.name}: it has pickle protocol ${protocol}, the newest known is ${newestProtocol}`,
      );
    }
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === mark) {
      throw this.#damaged(`it takes a value that it has not made`);
    }
    return value as PickleValue;
  }

  #popSome(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #popToMark(): PickleValue[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) throw this.#damaged("it takes values that it has not begun");
    const values = this.#stack.splice(at);
    return values.slice(1) as PickleValue[];
  }

  #append(values: PickleValue[]): void {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) throw this.#damaged("it appends to no list");
    for (const value of values) list.push(value);
  }

  #setItems(values: PickleValue[]): void {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof Map) || values.length % 2 !== 0) {
      throw this.#damaged("it sets items of no dict");
    }
    for (let i = 0; i < values.length; i += 2) {
      dict.set(values[i], values[i + 1]);
    }
  }

  /** State of an ordered dict, such as PyTorch's `_metadata`, says nothing of tensors. */
  #build(): void {
    this.#pop();
    if (!(this.#stack.at(-1) instanceof Map)) {
      throw this.#damaged("it gives a state to what has none");
    }
  }

  #call(): void {
    const [named, args] = this.#popSome(2);
    const run = named instanceof Named &&
      this.world.functions.get(named.name);
    if (!run || !Array.isArray(args)) {
      throw this.#damaged(
        named instanceof Named
          ? `it calls ${named.name}, which is a name only`
          : "it calls what is no function",
      );
    }
    this.#push(run(args));
  }

  #named([module, own]: PickleValue[]): void {
    if (typeof module !== "string" || typeof own !== "string") {
      throw this.#damaged("a name is no text");
    }
    const name = `${module}.${own}`;
    const { functions, names } = this.world;
    if (!functions.has(name) && !names.has(name)) {
      throw new UnsupportedError(
        `Cannot read ${this.world.name}: it names ${
          printable(name)
        }, and only plain tensors in dicts and lists can be read`,
      );
    }
    this.#push(new Named(name));
  }

  #remember(index: number): void {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) {
      throw this.#damaged("it keeps a value that it has not made");
    }
    this.#memo.set(index, value as PickleValue);
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) {
      throw this.#damaged(`it uses value ${index}, which it has not kept`);
    }
    this.#push(value);
  }

  #uint8(): number {
    return this.bytes[this.#skip(1)];
  }

  /** A length in 4 or 8 bytes. */
  #length(width: 4 | 8): number {
    const at = this.#skip(width);
    return width === 4
      ? this.#view.getUint32(at, true)
      : Number(this.#view.getBigUint64(at, true));
  }

  /** A two's complement number of that many bytes. */
  #long(length: number): number | bigint {
    if (length > longestNumber) {
      throw this.#damaged(
        `a number takes ${length} bytes, the limit is ${longestNumber}`,
      );
    }
    const start = this.#skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) {
      value = (value << 8n) | BigInt(this.bytes[start + i]);
    }
    const signed = BigInt.asIntN(8 * length, value);
    const number = Number(signed);
    return Number.isSafeInteger(number) ? number : signed;
  }

  #text(length: number): string {
    const start = this.#skip(length);
    try {
      return utf8.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw this.#damaged(`bytes ${start}..${start + length} are not UTF-8`);
    }
  }

  #line(): string {
    const end = this.bytes.indexOf(0x0a, this.position);
    if (end < 0) throw this.#damaged("a name does not end");
    const text = this.#text(end - this.position);
    this.position++;
    return text;
  }

  #skip(length: number): number {
    const start = this.position;
    if (length > this.bytes.length - start) {
      throw this.#damaged(
        `it needs bytes ${start}..${
          start + length
        }, it has ${this.bytes.length}`,
      );
    }
    this.position += length;
    return start;
  }

  #damaged(what: string): FormatError {
    return new FormatError(
      `Cannot read ${this.world.name}: its pickle is damaged: ${what}`,
    );
  }
}
