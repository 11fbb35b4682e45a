import assert from "node:assert/strict";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import {
  type CulmError,
  FormatError,
  LimitError,
  UnsupportedError,
} from "../../../src/errors.ts";
import { readGguf } from "../../../src/formats/gguf/read.ts";
import {
  type Bytes,
  concat,
  preamble,
  tensor,
  text,
  u32,
  u64,
} from "./raw_bytes.ts";

/** A file with these tensors, and `dataBytes` of data after the header. */
function withTensors(dataBytes: number, ...tensors: Bytes[]): Bytes {
  const header = concat(preamble({ tensors: tensors.length }), ...tensors);
  const start = Math.ceil(header.length / 32) * 32;
  return concat(header, new Uint8Array(start - header.length + dataBytes));
}

/** A file with one metadata entry of this type. */
function withEntry(type: number, ...value: Bytes[]): Bytes {
  return concat(preamble({ entries: 1 }), text("k"), u32(type), ...value);
}

const empty = new Uint8Array(0);
const nested = (depth: number): Bytes =>
  depth === 0
    ? concat(u32(0), u64(0))
    : concat(u32(9), u64(1), nested(depth - 1));

type Case = [
  name: string,
  file: Bytes,
  kind: new (message: string) => CulmError,
  message: RegExp,
];

const cases: Case[] = [
  ["an empty file", empty, FormatError, /needs bytes 0\.\.4, the file has 0/],
  [
    "three bytes",
    new TextEncoder().encode("GGU"),
    FormatError,
    /needs bytes 0\.\.4, the file has 3/,
  ],
  [
    "another format",
    concat(new TextEncoder().encode("ggjt"), new Uint8Array(40)),
    FormatError,
    /begins with GGUF or PWRI, this one with bytes 67 67 6a 74/,
  ],
  [
    "version 1",
    preamble({ version: 1 }),
    UnsupportedError,
    /version 1, culm reads 2 and 3/,
  ],
  [
    "version 4",
    preamble({ version: 4 }),
    UnsupportedError,
    /version 4, culm reads 2 and 3/,
  ],
  [
    "a big-endian file",
    preamble({ version: 0x03000000 }),
    UnsupportedError,
    /big-endian/,
  ],
  [
    "2^63 tensors",
    preamble({ tensors: 2n ** 63n }),
    FormatError,
    /declares 9223372036854775808 tensors .* has 8 bytes left/,
  ],
  [
    "2^63 metadata entries",
    preamble({ entries: 2n ** 63n }),
    FormatError,
    /declares 9223372036854775808 metadata entries .* has 0 bytes left/,
  ],
  [
    "more tensors than the file has room for",
    concat(preamble({ tensors: 100 }), new Uint8Array(3000)),
    FormatError,
    /declares 100 tensors of at least 32 bytes each, the file has 3008 bytes left/,
  ],
  [
    "a key of 2^62 bytes",
    concat(preamble({ entries: 1 }), u64(2n ** 62n), new Uint8Array(8)),
    FormatError,
    /metadata entry 0 .* needs bytes 32\.\.4611686018427387936, the file has 40/,
  ],
  [
    "a key of 2^64 - 1 bytes",
    concat(preamble({ entries: 1 }), u64(2n ** 64n - 1n), new Uint8Array(8)),
    FormatError,
    /needs bytes 32\.\.18446744073709551647, the file has 40/,
  ],
  [
    "a key that is not UTF-8",
    concat(
      preamble({ entries: 1 }),
      text(Uint8Array.of(0xff, 0xfe)),
      new Uint8Array(8),
    ),
    FormatError,
    /metadata entry 0 .* bytes 32\.\.34 are not UTF-8/,
  ],
  [
    "a value of a type that does not exist",
    withEntry(13),
    FormatError,
    /metadata k .* type 13, the format has 0 to 12/,
  ],
  [
    "a string value that ends behind the file",
    withEntry(8, u64(6), Uint8Array.of(65)),
    FormatError,
    /metadata k .* needs bytes 45\.\.51, the file has 46/,
  ],
  [
    "an array of 2^63 bytes",
    withEntry(9, u32(0), u64(2n ** 63n)),
    FormatError,
    /metadata k .* declares 9223372036854775808 uint8 values .* has 0 bytes left/,
  ],
  [
    "an array whose length in bytes passes 2^64",
    withEntry(9, u32(12), u64(2n ** 61n)),
    FormatError,
    /declares 2305843009213693952 float64 values of at least 8 bytes each/,
  ],
  [
    "an array one value too long",
    withEntry(9, u32(4), u64(3), new Uint8Array(11)),
    FormatError,
    /declares 3 uint32 values of at least 4 bytes each, the file has 11 bytes left/,
  ],
  [
    "arrays nested too deep",
    withEntry(9, nested(5)),
    LimitError,
    /nested 5 deep, the limit is 4/,
  ],
  [
    "the same key twice",
    concat(
      preamble({ entries: 2 }),
      ...[1, 2].map(() => concat(text("k"), u32(0), Uint8Array.of(1))),
    ),
    FormatError,
    /metadata k .* entry 1 has the same key/,
  ],
  ...[0, 3, 33, 2 ** 31 + 1].map((alignment): Case => [
    `an alignment of ${alignment}`,
    concat(
      preamble({ entries: 1 }),
      text("general.alignment"),
      u32(4),
      u32(alignment),
    ),
    FormatError,
    new RegExp(`power of two up to 2147483648, the file has ${alignment}`),
  ]),
  [
    "an alignment that is a string",
    concat(
      preamble({ entries: 1 }),
      text("general.alignment"),
      u32(8),
      text("32"),
    ),
    FormatError,
    /general.alignment .* power of two/,
  ],
  [
    "a tensor without dimensions",
    withTensors(32, tensor({ dimensions: [], rank: 0 }), tensor({ name: "u" })),
    FormatError,
    /tensor t .* has 0 dimensions, a tensor has 1 to 4/,
  ],
  [
    "a tensor of five dimensions",
    withTensors(32, tensor({ dimensions: [1, 1, 1, 1, 1] })),
    FormatError,
    /tensor t .* has 5 dimensions, a tensor has 1 to 4/,
  ],
  [
    "2^32 - 1 dimensions",
    withTensors(32, tensor({ rank: 2 ** 32 - 1 })),
    FormatError,
    /has 4294967295 dimensions, a tensor has 1 to 4/,
  ],
  [
    "a dimension of 0",
    withTensors(32, tensor({ dimensions: [8, 0] })),
    FormatError,
    /a dimension is 0 in its shape 8x0/,
  ],
  [
    "dimensions whose product passes 2^64",
    withTensors(32, tensor({ dimensions: [2n ** 32n, 2n ** 32n, 2] })),
    FormatError,
    /4294967296x4294967296x2 holds 36893488147419103232 weights, the file has \d+ bytes/,
  ],
  [
    "a row that ends within a block",
    withTensors(64, tensor({ dimensions: [40], type: 2 })),
    FormatError,
    /a row of 40 weights is no whole number of Q4_0 blocks of 32/,
  ],
  [
    "a type that culm has no reader for",
    withTensors(64, tensor({ name: "blk.0.ffn_up.weight", type: 15 })),
    UnsupportedError,
    /tensor blk\.0\.ffn_up\.weight .* type 15 \(Q8_K\), culm reads F32, /,
  ],
  [
    "a type that nobody knows",
    withTensors(64, tensor({ type: 4_000_000_000 })),
    UnsupportedError,
    /has type 4000000000, culm reads/,
  ],
  [
    "an offset off the alignment",
    withTensors(64, tensor({ offset: 16 })),
    FormatError,
    /offset 16 is no multiple of the alignment 32/,
  ],
  [
    "an offset of 2^63",
    withTensors(64, tensor({ offset: 2n ** 63n })),
    FormatError,
    /needs bytes 9223372036854775\d+\.\.9223372036854775\d+, the file has 128/,
  ],
  [
    "a tensor that ends one byte behind the file",
    withTensors(31, tensor({})),
    FormatError,
    /tensor t .* needs bytes 64\.\.96, the file has 95/,
  ],
  [
    "two tensors in the same place",
    withTensors(
      96,
      tensor({ name: "a", dimensions: [16] }),
      tensor({ name: "b", offset: 32 }),
    ),
    FormatError,
    /tensor b .* begins at byte 128, where tensor a ends at 160/,
  ],
  [
    "the same tensor twice",
    withTensors(64, tensor({}), tensor({ offset: 32 })),
    FormatError,
    /tensor t .* tensor 1 has the same name/,
  ],
  [
    "a name with control characters, in a message that is safe to print",
    withTensors(31, tensor({ name: "a\x1b[2J\n" })),
    FormatError,
    /tensor a\\u\{1b\}\[2J\\u\{a\} of/,
  ],
];

for (const [name, file, kind, message] of cases) {
  Deno.test(`refused: ${name}`, async () => {
    await assert.rejects(
      readGguf(fromBuffer(file, "hostile.gguf")),
      (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.match(error.message, message);
        assert.match(error.message, /hostile\.gguf/);
        return true;
      },
    );
  });
}
