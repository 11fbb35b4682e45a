import assert from "node:assert/strict";
import fc from "fast-check";
import { CulmError, FormatError } from "../../src/errors.ts";
import { tokenizerFromSentencePiece } from "../helpers/sentencepiece.ts";

type Field = readonly [
  field: number,
  value: number | string | Uint8Array | { float: number },
];

/** A protobuf message of fields whose numbers and lengths are below 16,384. */
function message(...fields: Field[]): Uint8Array {
  const bytes: number[] = [];
  const varint = (value: number) => {
    if (value >= 0x80) bytes.push((value & 0x7f) | 0x80, value >> 7);
    else bytes.push(value);
  };
  for (const [field, value] of fields) {
    if (typeof value === "number") {
      varint(field << 3);
      varint(value);
    } else if (typeof value === "object" && "float" in value) {
      varint((field << 3) | 5);
      const float = new Uint8Array(Float32Array.of(value.float).buffer);
      bytes.push(...float);
    } else {
      const content = typeof value === "string"
        ? new TextEncoder().encode(value)
        : value;
      varint((field << 3) | 2);
      varint(content.length);
      bytes.push(...content);
    }
  }
  return Uint8Array.from(bytes);
}

const piece = (text: string, score: number, type: number): Field => [
  1,
  message([1, text], [2, { float: score }], [3, type]),
];
const pieces = [
  piece("<unk>", 0, 2),
  piece("<s>", 0, 3),
  piece("</s>", 0, 3),
  piece("\u2581", -1, 1),
  piece("a", -2, 1),
  piece("\u2581a", -3, 1),
];
const BPE: Field = [3, 2];
const trainer = (...fields: Field[]): Field => [2, message(...fields)];
const normalizer = (...fields: Field[]): Field => [3, message(...fields)];
const model = (...fields: Field[]) => message(...pieces, ...fields);

Deno.test("fields that a model leaves out have the schema's defaults", () => {
  const tokenizer = tokenizerFromSentencePiece(model(trainer(BPE)));
  assert.equal(tokenizer.bos, 1);
  assert.equal(tokenizer.eos, 2);
  assert.equal(tokenizer.unk, 0);
  // A space first, one space for several, none at the end.
  assert.deepEqual(tokenizer.encode("a  a "), [1, 5, 5]);
});

Deno.test("a model names its own BOS and EOS", () => {
  const begin = piece("<begin>", 0, 3);
  const named = trainer(BPE, [46, "<begin>"], [47, "none"]);
  const tokenizer = tokenizerFromSentencePiece(
    message(...pieces, begin, named),
  );
  assert.equal(tokenizer.bos, 6);
  assert.equal(tokenizer.eos, undefined);
});

Deno.test("the normaliser's switches are kept to", () => {
  const settings = normalizer([3, 0], [4, 0]);
  const tokenizer = tokenizerFromSentencePiece(
    model(trainer(BPE), settings),
  );
  assert.deepEqual(tokenizer.encode("a  a"), [1, 4, 3, 5]);
});

Deno.test("models that are not plain BPE are refused", () => {
  const refused: [Uint8Array, RegExp][] = [
    [model(), /type unigram: only BPE/],
    [model(trainer([3, 4])), /type char/],
    [model(trainer(BPE, [24, 1])), /treat_whitespace_as_suffix/],
    [
      model(trainer(BPE), normalizer([2, "abc"])),
      /normaliser \(3 bytes of precompiled_charsmap\)/,
    ],
    [
      model(trainer(BPE), [5, message([2, "abc"])]),
      /denormaliser \(3 bytes of precompiled_charsmap\)/,
    ],
  ];
  for (const [bytes, message] of refused) {
    assert.throws(() => tokenizerFromSentencePiece(bytes), {
      name: "UnsupportedError",
      message,
    });
  }
});

Deno.test("a model without exactly one unknown piece is refused", () => {
  for (const extra of [[], [piece("<unk>", 0, 2), piece("<what>", 0, 2)]]) {
    const bytes = message(...pieces.slice(1), ...extra, trainer(BPE));
    assert.throws(() => tokenizerFromSentencePiece(bytes), {
      name: "TokenizerError",
      message: new RegExp(`${extra.length} unknown pieces`),
    });
  }
});

Deno.test("damaged protobuf is refused with what is wrong", () => {
  const refused: [Uint8Array, RegExp][] = [
    [Uint8Array.of(0x0a, 5, 1), /needs bytes 2\.\.7, it has 3/],
    [Uint8Array.of(0x0a), /needs bytes 1\.\.2, it has 1/],
    [Uint8Array.of(0x0b), /byte 0 begins a field of wire type 3/],
    [new Uint8Array(20).fill(0xff), /longer than 10 bytes/],
    [message([1, 7]), /pieces: expected bytes, the file has a number/],
    [message([1, message([2, "x"])]), /piece 0 .*expected a number/],
    [message([1, message([1, Uint8Array.of(0xff)])]), /piece 0 .*not UTF-8/],
  ];
  for (const [bytes, message] of refused) {
    assert.throws(() => tokenizerFromSentencePiece(bytes), (error) => {
      assert.ok(error instanceof FormatError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("fields that are not known are passed over", () => {
  const others = message([99, 1], [98, "text"], [97, { float: 1 }]);
  const wide = Uint8Array.of(
    0x61, /* field 12, 64 bits */
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
  );
  const bytes = Uint8Array.from([...model(trainer(BPE)), ...others, ...wide]);
  assert.deepEqual(tokenizerFromSentencePiece(bytes).encode("a"), [1, 5]);
});

Deno.test("a model cut or changed anywhere works or gives a typed error", () => {
  const bytes = model(trainer(BPE), normalizer([3, 1]));
  const anyDamage = fc.record({
    length: fc.nat(bytes.length),
    at: fc.nat(bytes.length - 1),
    value: fc.nat(255),
  });
  fc.assert(
    fc.property(anyDamage, ({ length, at, value }) => {
      const damaged = bytes.slice(0, length);
      damaged.fill(value, at, at + 1);
      try {
        const tokenizer = tokenizerFromSentencePiece(damaged);
        tokenizer.decode(tokenizer.encode("a  b", { parseSpecial: true }));
      } catch (error) {
        assert.ok(error instanceof CulmError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});
