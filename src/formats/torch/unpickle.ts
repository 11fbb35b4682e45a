/**
 * Reads Python pickles as data. Nothing is executed: what a pickle may call is a
 * fixed list of functions written here, and every other name is refused.
 *
 * @module
 */
import { FormatError, UnsupportedError } from "../../errors.ts";
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

/** Opcodes, as Python's pickle module calls them. */
const op = {
  MARK: 0x28,
  STOP: 0x2e,
  POP: 0x30,
  POP_MARK: 0x31,
  BINFLOAT: 0x47,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  NONE: 0x4e,
  BINPERSID: 0x51,
  REDUCE: 0x52,
  BINSTRING: 0x54,
  SHORT_BINSTRING: 0x55,
  BINUNICODE: 0x58,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  BUILD: 0x62,
  GLOBAL: 0x63,
  APPENDS: 0x65,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  SETITEM: 0x73,
  TUPLE: 0x74,
  EMPTY_TUPLE: 0x29,
  SETITEMS: 0x75,
  EMPTY_DICT: 0x7d,
  PROTO: 0x80,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  LONG1: 0x8a,
  LONG4: 0x8b,
  SHORT_BINUNICODE: 0x8c,
  BINUNICODE8: 0x8d,
  STACK_GLOBAL: 0x93,
  MEMOIZE: 0x94,
  FRAME: 0x95,
} as const;

/**
 * Reads one pickle, and tells where it ends, for another may follow. Takes time
 * and memory in proportion to its bytes.
 *
 * @param start offset of its first byte
 * @throws {FormatError} where it is cut or damaged
 * @throws {UnsupportedError} where it names what is not on the list, by that name
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
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #world: PickleWorld;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();
  position: number;

  constructor(bytes: Uint8Array, world: PickleWorld, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(
      bytes.buffer,
      bytes.byteOffset,
      bytes.byteLength,
    );
    this.#world = world;
    this.position = start;
  }

  run(): PickleValue {
    for (;;) {
      const code = this.#uint8();
      if (code === op.STOP) return this.#pop();
      this.#step(code);
    }
  }

  #step(code: number): void {
    switch (code) {
      case op.PROTO: {
        const protocol = this.#uint8();
        if (protocol > newestProtocol) {
          throw new UnsupportedError(
            `Cannot read ${this.#world.name}: it has pickle protocol ${protocol}, the newest known is ${newestProtocol}`,
          );
        }
        return;
      }
      case op.FRAME:
        this.#length(8);
        return;
      case op.NONE:
        return this.#push(null);
      case op.NEWTRUE:
        return this.#push(true);
      case op.NEWFALSE:
        return this.#push(false);
      case op.BININT:
        return this.#push(this.#view.getInt32(this.#skip(4), true));
      case op.BININT1:
        return this.#push(this.#uint8());
      case op.BININT2:
        return this.#push(this.#view.getUint16(this.#skip(2), true));
      case op.LONG1:
        return this.#push(this.#long(this.#uint8()));
      case op.LONG4:
        return this.#push(this.#long(this.#length(4)));
      case op.BINFLOAT:
        return this.#push(this.#view.getFloat64(this.#skip(8)));
      case op.SHORT_BINSTRING:
      case op.SHORT_BINUNICODE:
        return this.#push(this.#text(this.#uint8()));
      case op.BINSTRING:
      case op.BINUNICODE:
        return this.#push(this.#text(this.#length(4)));
      case op.BINUNICODE8:
        return this.#push(this.#text(this.#length(8)));
      case op.EMPTY_LIST:
      case op.EMPTY_TUPLE:
        return this.#push([]);
      case op.EMPTY_DICT:
        return this.#push(new Map());
      case op.MARK:
        this.#stack.push(mark);
        return;
      case op.POP:
        this.#stack.pop();
        return;
      case op.POP_MARK:
        this.#popToMark();
        return;
      case op.TUPLE:
        return this.#push(this.#popToMark());
      case op.TUPLE1:
        return this.#push(this.#popSome(1));
      case op.TUPLE2:
        return this.#push(this.#popSome(2));
      case op.TUPLE3:
        return this.#push(this.#popSome(3));
      case op.APPEND:
        return this.#append(this.#popSome(1));
      case op.APPENDS:
        return this.#append(this.#popToMark());
      case op.SETITEM:
        return this.#setItems(this.#popSome(2));
      case op.SETITEMS:
        return this.#setItems(this.#popToMark());
      case op.BINPUT:
        return this.#remember(this.#uint8());
      case op.LONG_BINPUT:
        return this.#remember(this.#view.getUint32(this.#skip(4), true));
      case op.MEMOIZE:
        return this.#remember(this.#memo.size);
      case op.BINGET:
        return this.#recall(this.#uint8());
      case op.LONG_BINGET:
        return this.#recall(this.#view.getUint32(this.#skip(4), true));
      case op.GLOBAL: {
        const module = this.#line();
        return this.#named(`${module}.${this.#line()}`);
      }
      case op.STACK_GLOBAL: {
        const [module, name] = this.#popSome(2);
        if (typeof module !== "string" || typeof name !== "string") {
          throw this.#damaged("a name is no text");
        }
        return this.#named(`${module}.${name}`);
      }
      case op.REDUCE:
        return this.#call();
      case op.BUILD:
        return this.#build();
      case op.BINPERSID:
        return this.#push(this.#world.persistent(this.#pop()));
      default:
        throw this.#damaged(
          `byte 0x${code.toString(16)} at ${this.position - 1} is no opcode`,
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
      this.#world.functions.get(named.name);
    if (!run || !Array.isArray(args)) {
      throw this.#damaged(
        named instanceof Named
          ? `it calls ${named.name}, which is a name only`
          : "it calls what is no function",
      );
    }
    this.#push(run(args));
  }

  #named(name: string): void {
    const { functions, names } = this.#world;
    if (!functions.has(name) && !names.has(name)) {
      throw new UnsupportedError(
        `Cannot read ${this.#world.name}: it names ${
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
    return this.#bytes[this.#skip(1)];
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
      value = (value << 8n) | BigInt(this.#bytes[start + i]);
    }
    const signed = BigInt.asIntN(8 * length, value);
    const number = Number(signed);
    return Number.isSafeInteger(number) ? number : signed;
  }

  #text(length: number): string {
    const start = this.#skip(length);
    try {
      return utf8.decode(this.#bytes.subarray(start, start + length));
    } catch {
      throw this.#damaged(`bytes ${start}..${start + length} are not UTF-8`);
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.position);
    if (end < 0) throw this.#damaged("a name does not end");
    const text = this.#text(end - this.position);
    this.position++;
    return text;
  }

  #skip(length: number): number {
    const start = this.position;
    if (length > this.#bytes.length - start) {
      throw this.#damaged(
        `it needs bytes ${start}..${
          start + length
        }, it has ${this.#bytes.length}`,
      );
    }
    this.position += length;
    return start;
  }

  #damaged(what: string): FormatError {
    return new FormatError(
      `Cannot read ${this.#world.name}: its pickle is damaged: ${what}`,
    );
  }
}
