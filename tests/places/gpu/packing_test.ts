/**
 * Packed rows, read back by a twin of the kernels' `unit_weights` and `integers`: weights keep
 * their values whatever columns are kept. Needs no device.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import {
  bfloat16ToFloat,
  halfToFloat,
} from "../../../src/formats/ggml/half.ts";
import { fp4Table, iq4Table } from "../../../src/formats/ggml/read_tables.ts";
import { type GgmlType, ggmlTypes } from "../../../src/formats/ggml/types.ts";
import type { PackedType } from "../../../src/places/gpu/kernels/weights.ts";
import { keptColumns } from "../../../src/places/gpu/memory/matrix.ts";
import {
  groupsOf,
  packedTypeOf,
  RowPacker,
} from "../../../src/places/gpu/memory/packing.ts";
import type { Range } from "../../../src/model/index_set.ts";
import { randomWeights } from "../../helpers/random_weights.ts";

/** A packed row, seen as its kernel sees it. */
class PackedRow {
  readonly #bytes: DataView;

  constructor(words: Uint32Array, readonly groups: number) {
    this.#bytes = new DataView(words.buffer, words.byteOffset);
  }

  /** Weight number `column` of the row. */
  weight(type: PackedType, column: number): number {
    const { groups } = this;
    const group = Math.floor(column / 256), inGroup = column % 256;
    // Block j of 32 weights: quad number `quad` of it, and the weight in the quad.
    const j = inGroup >> 5, quad = (inGroup >> 2) & 7, c = inGroup & 3;
    const unit = 8 * group + j;
    switch (type) {
      case "F32":
        return this.#bytes.getFloat32(4 * column, true);
      case "F16":
        return this.#half(
          256 * group + 8 * (8 * (j >> 1) + quad) + 4 * (j & 1) + c,
        );
      case "Q8_0": {
        const q = this.#bytes.getInt8(
          16 * (16 * group + 8 * (quad >> 2) + j) + 4 * (quad & 3) + c,
        );
        return this.#half(128 * groups + 8 * group + j) * q;
      }
      case "Q4_0":
        return this.#half(64 * groups + 8 * group + j) *
          (this.#nibble(unit, quad, c) - 8);
      case "Q4_1":
        return this.#half(64 * groups + unit) * this.#nibble(unit, quad, c) +
          this.#half(72 * groups + unit);
      case "IQ4_NL":
        return this.#half(64 * groups + 8 * group + j) *
          iq4Table[this.#nibble(unit, quad, c)];
      case "IQ4_XS": {
        const head = 128 * groups + 16 * group;
        return this.#half(head / 2) * this.#bytes.getInt8(head + 4 + j) *
          iq4Table[this.#nibble(unit, quad, c)];
      }
      case "MXFP4": {
        const upper = this.#bytes.getUint16(
          2 * (64 * groups + 8 * group + j),
          true,
        );
        return bfloat16ToFloat(upper) * fp4Table[this.#nibble(unit, quad, c)];
      }
      case "I8H":
      case "I8HM": {
        const q = this.#bytes.getInt8(
          16 * (16 * group + 8 * (quad >> 2) + j) + 4 * (quad & 3) + c,
        );
        const at = 2 * unit + (quad >> 2);
        const float = (index: number) =>
          this.#bytes.getFloat32(256 * groups + 4 * index, true);
        const min = type === "I8HM" ? float(16 * groups + at) : 0;
        return float(at) * q + min;
      }
      case "Q4_K": {
        const head = 128 * groups + 16 * group;
        const scales = (i: number) => this.#bytes.getUint8(head + 4 + i);
        const [scale, minimum] = j < 4
          ? [scales(j) & 63, scales(j + 4) & 63]
          : [
            (scales(j + 4) & 15) | (scales(j - 4) >> 6 << 4),
            (scales(j + 4) >> 4) | (scales(j) >> 6 << 4),
          ];
        return this.#half(head / 2) * scale * this.#nibble(unit, quad, c) -
          this.#half(head / 2 + 1) * minimum;
      }
      case "Q6_K": {
        const low = this.#nibble(unit, quad, c);
        const high = this.#bytes.getUint8(
              128 * groups + 8 * unit + 4 * (quad >> 2) + c,
            ) >> (2 * (quad & 3)) & 3;
        const scale = this.#bytes.getInt8(
          192 * groups + 2 * unit + (quad >> 2),
        );
        return this.#half(104 * groups + group) * scale *
          ((low | high << 4) - 32);
      }
    }
  }

  /** Word i of a unit's vector has quad i in its low nibbles, quad i + 4 in its high ones. */
  #nibble(unit: number, quad: number, c: number): number {
    const byte = this.#bytes.getUint8(16 * unit + 4 * (quad & 3) + c);
    return byte >> (4 * (quad >> 2)) & 15;
  }

  #half(index: number): number {
    return halfToFloat(this.#bytes.getUint16(2 * index, true));
  }
}

/** Runs of columns in ascending order, in multiples of `unit`. */
function runsOf(
  cuts: readonly number[],
  unit: number,
  length: number,
): Range[] {
  const borders = [...new Set(cuts.map((cut) => cut % (length / unit + 1)))]
    .sort((a, b) => a - b).map((border) => border * unit);
  const runs: Range[] = [];
  for (let i = 0; i + 1 < borders.length; i += 2) {
    runs.push({ start: borders[i], end: borders[i + 1] });
  }
  return runs;
}

const length = 1024;
const types = Object.keys(ggmlTypes) as GgmlType[];
for (const type of types) {
  Deno.test(`${type}: kept columns keep their values`, () => {
    const bytes = randomWeights(type, length, 3);
    const weights = new Float32Array(length);
    dequantise(type, bytes, weights);
    const cuts = fc.array(fc.nat(length), { maxLength: 12 });
    const { blockSize } = ggmlTypes[type];
    fc.assert(fc.property(cuts, fc.constantFrom(1, blockSize), (cuts, unit) => {
      const runs = runsOf(cuts, unit, length);
      const packer = new RowPacker(type, { length, runs });
      assert.equal(packer.type, packedTypeOf(type, runs));
      if (unit === blockSize && type !== "BF16") {
        assert.equal(packer.type === "F32", type === "F32");
      }
      const kept = runs.flatMap((
        { start, end },
      ) => [...weights.subarray(start, end)]);
      const words = new Uint32Array(3 + packer.rowWords);
      packer.pack(bytes, words, 3);
      const groups = groupsOf(kept.length);
      const row = new PackedRow(words.subarray(3), groups);
      for (let column = 0; column < 256 * groups; column++) {
        const expected = kept[column] ?? 0;
        const actual = Math.fround(row.weight(packer.type, column));
        assert.equal(actual + 0, expected + 0, `column ${column}`);
      }
    }));
  });
}

Deno.test("a place's columns are found in a shard that is wider", () => {
  const tensor = {
    name: "",
    type: "Q8_0",
    shape: [320, 4],
    offset: 0,
    byteLength: 0,
  } as const;
  const rows = { start: 0, end: 4 };
  const kept = (columns: Range | Uint32Array, own: Range | Uint32Array) =>
    keptColumns({ tensor, rows, columns }, own);
  assert.deepEqual(kept({ start: 32, end: 96 }, { start: 40, end: 90 }), {
    length: 320,
    runs: [{ start: 40, end: 90 }],
  });
  assert.deepEqual(
    kept({ start: 32, end: 96 }, Uint32Array.of(33, 34, 60)),
    { length: 320, runs: [{ start: 33, end: 35 }, { start: 60, end: 61 }] },
  );
  // A list is read without what lies between its columns.
  const blocks = Uint32Array.from(
    { length: 64 },
    (_, i) => i < 32 ? i : 224 + i,
  );
  assert.deepEqual(kept(blocks, Uint32Array.of(31, 256, 258)), {
    length: 64,
    runs: [{ start: 31, end: 33 }, { start: 34, end: 35 }],
  });
  assert.deepEqual(kept({ start: 0, end: 0 }, { start: 0, end: 0 }).runs, []);
});
