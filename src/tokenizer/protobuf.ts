import { viewOf } from "../bytes/byte_source.ts";
import { FormatError } from "../errors.ts";

/** A field of a protobuf message, by its wire type. */
export type ProtobufValue = number | Uint8Array;

/**
 * The fields of a protobuf message, in the file's order: varints as their low
 * 32 bits (signed), 32-bit fields as an f32, and everything with a length as
 * its bytes.
 *
 * @throws {FormatError} The message is cut, or has a wire type that does not exist.
 */
export function* readProtobuf(
  bytes: Uint8Array,
  subject: string,
): Generator<[field: number, value: ProtobufValue]> {
  const view = viewOf(bytes);
  let position = 0;

  const take = (length: number): number => {
    const start = position;
    if (length > bytes.length - start) {
      throw new FormatError(
        `Cannot read ${subject}: needs bytes ${start}..${
          start + length
        }, it has ${bytes.length}`,
      );
    }
    position += length;
    return start;
  };

  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[take(1)];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new FormatError(
      `Cannot read ${subject}: the number before byte ${position} is longer than 10 bytes`,
    );
  };

  while (position < bytes.length) {
    const start = position;
    const tag = varint();
    const field = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        yield [field, Number(BigInt.asIntN(32, varint()))];
        break;
      case 1:
        take(8);
        break;
      case 2: {
        const length = Number(varint());
        const at = take(length);
        yield [field, bytes.subarray(at, at + length)];
        break;
      }
      case 5:
        yield [field, view.getFloat32(take(4), true)];
        break;
      default:
        throw new FormatError(
          `Cannot read ${subject}: byte ${start} begins a field of wire type ${
            tag & 7n
          }, known are 0, 1, 2 and 5`,
        );
    }
  }
}
