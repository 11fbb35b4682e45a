import { viewOf } from "../../bytes/byte_source.ts";
import { FormatError } from "../../errors.ts";
import { metadataBytes } from "./gguf_file.ts";

/** Says that parsing has to start again with at least `end` bytes of the file. */
export class NeedsMoreBytes extends Error {
  /** Makes the request for the bytes `0..end`. */
  constructor(readonly end: number) {
    super(`needs the first ${end} bytes`);
  }
}

// A byte order mark is text like any other: vocabularies have a token for it.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

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

type NumberType = keyof typeof numberGetters;

/**
 * Reads little-endian values off the front of a file. Every length is checked
 * against the whole file's size before it is used.
 */
export class HeaderCursor {
  /** Offset of the next byte. */
  position = 0;
  /** What is being read, for messages: `metadata general.name`. */
  subject = "the header";
  readonly #view: DataView;

  /** Starts at byte 0 of `bytes`, the first bytes of a file of `fileSize`. */
  constructor(
    readonly bytes: Uint8Array,
    readonly fileSize: number,
    readonly fileName: string,
  ) {
    this.#view = viewOf(bytes);
  }

  /** An error about what is being read. */
  error(detail: string): FormatError {
    return new FormatError(
      `Cannot read ${this.subject} of ${this.fileName}: ${detail}`,
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

  /** Reads four bytes as an unsigned integer. */
  uint32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  /** Reads eight bytes as an unsigned integer. */
  uint64(): bigint {
    return this.#view.getBigUint64(this.skip(8), true);
  }

  /** Reads a byte that must be 0 or 1. */
  bool(): boolean {
    const byte = this.number("uint8");
    if (byte > 1) throw this.error(`a boolean is 0 or 1, the file has ${byte}`);
    return byte === 1;
  }

  /** Reads a 64-bit length and as many bytes of UTF-8. */
  string(): string {
    const length = this.uint64();
    const start = this.skip(length);
    try {
      return utf8.decode(this.bytes.subarray(start, this.position));
    } catch {
      throw this.error(`bytes ${start}..${this.position} are not UTF-8`);
    }
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
