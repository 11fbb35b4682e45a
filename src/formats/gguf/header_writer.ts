import { UsageError } from "../../errors.ts";
import {
  type MetadataArray,
  metadataBytes,
  type MetadataEntry,
  type MetadataType,
  metadataTypes,
  type MetadataValue,
} from "./gguf_file.ts";

const utf8 = new TextEncoder();

/** Writes little-endian values into a buffer that doubles as it fills. */
export class HeaderWriter {
  #buffer = new Uint8Array(2 ** 12);
  #length = 0;
  /** Where a number is laid out before it is copied. */
  readonly #number = new DataView(new ArrayBuffer(8));

  /** A copy of what was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }

  /** Writes bytes as they are. */
  bytes(bytes: Uint8Array): void {
    const end = this.#length + bytes.length;
    if (end > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#buffer.length));
      grown.set(this.#buffer);
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = end;
  }

  /** Writes four bytes. */
  uint32(value: number): void {
    this.#number.setUint32(0, value, true);
    this.#numberBytes(4);
  }

  /** Writes eight bytes. */
  uint64(value: number): void {
    this.#number.setBigUint64(0, BigInt(value), true);
    this.#numberBytes(8);
  }

  /**
   * Writes a 64-bit length and UTF-8.
   *
   * @throws {UsageError} where the text has half a surrogate pair, which UTF-8 cannot hold.
   */
  string(text: string): void {
    if (!text.isWellFormed()) {
      throw new UsageError(
        `Cannot write ${JSON.stringify(text)}: it has half a surrogate pair`,
      );
    }
    const bytes = utf8.encode(text);
    this.uint64(bytes.length);
    this.bytes(bytes);
  }

  /**
   * Writes a metadata key, its type and its value.
   *
   * @throws {UsageError} where the value does not fit its type.
   */
  entry(key: string, { type, value }: MetadataEntry): void {
    this.string(key);
    this.uint32(metadataTypes.indexOf(type));
    this.#value(key, type, value);
  }

  #value(key: string, type: MetadataType, value: MetadataValue): void {
    switch (type) {
      case "string":
        if (typeof value !== "string") break;
        return this.string(value);
      case "bool":
        if (typeof value !== "boolean") break;
        return this.bytes(Uint8Array.of(value ? 1 : 0));
      case "array":
        if (typeof value !== "object") break;
        return this.#array(key, value);
      case "float32":
        if (typeof value !== "number") break;
        this.#number.setFloat32(0, value, true);
        return this.#numberBytes(4);
      case "float64":
        if (typeof value !== "number") break;
        this.#number.setFloat64(0, value, true);
        return this.#numberBytes(8);
      default:
        if (typeof value !== "bigint" && !Number.isSafeInteger(value)) break;
        return this.#integer(key, type, BigInt(value as bigint));
    }
    throw new UsageError(
      `Cannot write metadata ${key}: a value of type ${typeof value} is no ${type}`,
    );
  }

  #array(key: string, { elementType, values }: MetadataArray): void {
    this.uint32(metadataTypes.indexOf(elementType));
    this.uint64(values.length);
    for (const value of values) this.#value(key, elementType, value);
  }

  #integer(key: string, type: MetadataType, value: bigint): void {
    const bits = 8 * metadataBytes[type];
    const smallest = type.startsWith("u") ? 0n : -(1n << BigInt(bits - 1));
    const largest = smallest + (1n << BigInt(bits)) - 1n;
    if (value < smallest || value > largest) {
      throw new UsageError(
        `Cannot write metadata ${key}: ${value} is beyond ${type}, ${smallest} to ${largest}`,
      );
    }
    // Little-endian two's complement: a narrow integer is the first bytes of a wide one.
    this.#number.setBigUint64(0, BigInt.asUintN(64, value), true);
    this.#numberBytes(metadataBytes[type]);
  }

  #numberBytes(width: number): void {
    this.bytes(new Uint8Array(this.#number.buffer, 0, width));
  }
}
