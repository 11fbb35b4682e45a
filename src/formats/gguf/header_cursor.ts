import { viewOf } from "../../bytes/byte_source.ts";
import { FormatError, LimitError } from "../../errors.ts";
import { metadataBytes, type MetadataValues } from "./gguf_file.ts";

/** Says that parsing has to start again with at least `end` bytes of the file. */
export class NeedsMoreBytes extends Error {
  /** Makes the request for the bytes `0..end`. */
  constructor(readonly end: number) {
    super(`needs the first ${end} bytes`);
  }
}

// A byte order mark is text like any other: vocabularies have a token for it.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes of a text that is decoded here: to ask the engine takes longer, and of Chromium's such strings take three times the memory. */
const fewBytes = 48;

/** UTF-8's text. */
function decode(bytes: Uint8Array): string {
  const few = bytes.length > fewBytes ? undefined : decodeFew(bytes);
  return few ?? utf8.decode(bytes);
}

/** UTF-8's text of characters below U+10000; undefined where there are others. */
function decodeFew(bytes: Uint8Array): string | undefined {
  const units: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(bytes, at);
    if (length === 0 || length === 4) return undefined;
    let unit = length === 1 ? bytes[at] : bytes[at] & 0xff >> length + 1;
    for (let i = 1; i < length; i++) unit = unit << 6 | bytes[at + i] & 0x3f;
    units.push(unit);
    at += length;
  }
  return String.fromCharCode(...units);
}

/** Text of which some bytes are no UTF-8: each of these is a lone surrogate. */
function decodeOdd(bytes: Uint8Array): string {
  let text = "";
  let valid = 0; // where the bytes begin that are UTF-8 up to `at`
  const flush = (end: number) => {
    if (end > valid) text += utf8.decode(bytes.subarray(valid, end));
  };
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(bytes, at);
    if (length === 0) {
      flush(at);
      text += String.fromCharCode(0xdc00 + bytes[at]);
      valid = at + 1;
    }
    at += length || 1;
  }
  flush(bytes.length);
  return text;
}

/** How many bytes the character at a place has (Unicode 16, table 3-7); 0 where there is none. */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (bytes[at + 1] < least || bytes[at + 1] > most) return 0;
  for (let i = 2; i < length; i++) {
    if ((bytes[at + i] & 0xc0) !== 0x80) return 0;
  }
  return length;
}

/** How each type of number is read. */
const numberGetters = {
  uint8: "getUint8",
  int8: "getInt8",
  uint16: "getUint16",
  int16: "getInt16",
  uint32: "getUint32",
  int32: "getInt32",
  float32: "getFloat32",
  uint64: "getBigUint64",
  int64: "getBigInt64",
  float64: "getFloat64",
} as const;

/** A type of number. */
export type NumberType = keyof typeof numberGetters;

/** Whether values of a type are numbers. */
export function isNumberType(type: string): type is NumberType {
  return type in numberGetters;
}

/** Arrays of each type of number, as little-endian machines hold them, which those of WebAssembly are. */
const numberArrays = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  float64: Float64Array,
} as const;

/**
 * The most values of a header, of those that are objects here: strings, booleans,
 * and keys and tensors, which count as {@linkcode ENTRY_VALUES}. A vocabulary of
 * 256k tokens has about a million.
 */
const MOST_VALUES = 2 ** 22;
/** How many values a key, a tensor or an array within an array counts as. */
export const ENTRY_VALUES = 16;

/**
 * Reads little-endian values off the front of a file. Every length is checked
 * against the whole file's size before it is used.
 */
export class HeaderCursor {
  /** Offset of the next byte. */
  position = 0;
  /** What is being read, for messages: `metadata`. */
  subject = "the header";
  /** Its name in the file: `general.name`. */
  part: string | undefined;
  /** What is odd, and does no harm: one sentence each. */
  readonly notes = new Set<string>();
  #bytes: Uint8Array;
  #view: DataView;
  #values: number;
  #passed: { position: number; values: number };

  /**
   * Starts at byte 0 of `bytes`, the first bytes of a file of `fileSize`, of
   * which other parts hold so many values already.
   */
  constructor(
    bytes: Uint8Array,
    readonly fileSize: number,
    readonly fileName: string,
    values = 0,
  ) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#values = values;
    this.#passed = { position: 0, values };
  }

  /** Values that take memory of their own, so far. */
  get held(): number {
    return this.#values;
  }

  /** The first bytes of the file. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** What is being read, in words. */
  get described(): string {
    const { subject, part } = this;
    return part === undefined ? subject : `${subject} ${printable(part)}`;
  }

  /** Sets what is being read. */
  about(subject: string, name?: string): void {
    this.subject = subject;
    this.part = name;
  }

  /** What was read so far is not read again. */
  pass(): void {
    this.#passed = { position: this.position, values: this.#values };
  }

  /** Goes on with more bytes of the file, behind what was passed. */
  extend(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.position = this.#passed.position;
    this.#values = this.#passed.values;
  }

  /**
   * Counts values that take memory of their own.
   *
   * @throws {LimitError} where there are too many
   */
  hold(values: number): void {
    this.#values += values;
    if (this.#values > MOST_VALUES) {
      throw new LimitError(
        `Cannot read ${this.described} of ${this.fileName}: the header holds more than ${MOST_VALUES} values, a key or tensor counting as ${ENTRY_VALUES}`,
      );
    }
  }

  /** An error about what is being read. */
  error(detail: string): FormatError {
    return new FormatError(
      `Cannot read ${this.described} of ${this.fileName}: ${detail}`,
    );
  }

  /** Bytes between here and the end of the file. */
  get remaining(): number {
    return this.fileSize - this.position;
  }

  /** Moves past `length` bytes and returns the offset where they begin. */
  skip(length: number | bigint): number {
    if (length > this.remaining) {
      throw this.error(
        `needs bytes ${this.position}..${
          BigInt(this.position) + BigInt(length)
        }, the file has ${this.fileSize}`,
      );
    }
    const start = this.position;
    const end = start + Number(length);
    if (end > this.bytes.length) throw new NeedsMoreBytes(end);
    this.position = end;
    return start;
  }

  /** Reads a number; one of 64 bits as a bigint. */
  number(type: NumberType): number | bigint {
    const start = this.skip(metadataBytes[type]);
    return this.#view[numberGetters[type]](start, true);
  }

  /** Reads that many numbers. Whole ones of 64 bits are as {@linkcode MetadataValue} says. */
  numbers(type: NumberType, count: number): MetadataValues {
    const length = count * metadataBytes[type];
    const start = this.skip(length);
    const { buffer } = this.bytes.slice(start, start + length);
    const values = new numberArrays[type](buffer as ArrayBuffer);
    if (
      !(values instanceof BigInt64Array || values instanceof BigUint64Array)
    ) return values;
    const numbers = new Float64Array(count);
    for (let i = 0; i < count; i++) numbers[i] = Number(values[i]);
    if (numbers.every(Number.isSafeInteger)) return numbers;
    this.hold(count);
    return Array.from(
      values as ArrayLike<bigint>,
      (value, i) => Number.isSafeInteger(numbers[i]) ? numbers[i] : value,
    );
  }

  /** Reads four bytes as an unsigned integer. */
  uint32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  /** Reads eight bytes as an unsigned integer. */
  uint64(): bigint {
    return this.#view.getBigUint64(this.skip(8), true);
  }

  /** Reads a byte that is 0 for false; some write other numbers than 1 for true. */
  bool(): boolean {
    const byte = this.number("uint8") as number;
    if (byte > 1) {
      this.notes.add(
        `${this.described} is a boolean of ${byte}: taken for true`,
      );
    }
    return byte !== 0;
  }

  /** Reads a 64-bit length and as many bytes of UTF-8: a name. */
  name(): string {
    const bytes = this.#textBytes();
    try {
      return decode(bytes);
    } catch {
      const start = this.position - bytes.length;
      throw this.error(`bytes ${start}..${this.position} are not UTF-8`);
    }
  }

  /**
   * The same for a text that is a value. A byte that is no UTF-8 comes as a lone
   * surrogate, U+DC80 and up, so that different texts stay different.
   */
  string(): string {
    const bytes = this.#textBytes();
    try {
      return decode(bytes);
    } catch {
      this.notes.add(`${this.described} has bytes that are not UTF-8`);
      return decodeOdd(bytes);
    }
  }

  #textBytes(): Uint8Array {
    const length = this.uint64();
    const start = this.skip(length);
    return this.bytes.subarray(start, this.position);
  }

  /** Reads a 64-bit count of things that take at least `itemBytes` bytes each. */
  count(items: string, itemBytes: number): number {
    const count = this.uint64();
    if (count * BigInt(itemBytes) > BigInt(this.remaining)) {
      throw this.error(
        `declares ${count} ${items} of at least ${itemBytes} bytes each, the file has ${this.remaining} bytes left`,
      );
    }
    return Number(count);
  }
}

/** A name from a file, made safe to print: no control characters, not long. */
export function printable(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return cut.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}
