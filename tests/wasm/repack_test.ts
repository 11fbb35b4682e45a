/** Packing against the TypeScript dequantisation of the same blocks. */

import assert from "node:assert/strict";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import {
  type GgmlType,
  ggmlTypes,
  rowBytes,
} from "../../src/formats/ggml/types.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import {
  builds,
  Instance,
  kindOf,
  looseKindOf,
  randomRows,
} from "./instance.ts";

const types = Object.keys(ggmlTypes) as GgmlType[];

/** Any finite half: zeros, subnormals and the largest ones more often than bits alone would. */
function anyHalf(random: () => number): number {
  const sign = random() < 0.5 ? 0x8000 : 0;
  const which = random();
  if (which < 0.1) return sign;
  if (which < 0.3) return sign | Math.floor(random() * 0x400);
  if (which < 0.4) return sign | 0x7bff;
  return sign | Math.floor(random() * 0x7c00);
}

for (const [build, module] of Object.entries(builds)) {
  const instance = new Instance(module);
  const { kernels } = instance;

  for (const type of types) {
    Deno.test(`${build}: packed ${type} rows keep every weight's value`, () => {
      const random = seededRandom(1 + types.indexOf(type));
      const unit = Math.max(ggmlTypes[type].blockSize, 32);
      const loose = looseKindOf[type];
      for (let round = 0; round < 12; round++) {
        instance.reset();
        const nRows = Math.floor(random() * 4);
        const columns = (loose ? Math.max(unit, 128) : unit) *
          (1 + Math.floor(random() * 12));
        let first = 32 * Math.floor((random() * columns) / 32);
        let k = 32 * Math.ceil((random() * (columns - first)) / 32);
        const areWhole = loose !== undefined && round % 2 === 0;
        if (areWhole) {
          first -= first % 128;
          k = Math.max(128, k - k % 128);
        }
        const plain = ggmlTypes[type].blockSize === 1;
        if (plain) k -= Math.floor(random() * 20);
        const rows = randomRows(
          type,
          nRows * columns,
          random,
          () => anyHalf(random),
        );
        const expected = new Float32Array(columns);
        const exact = areWhole ? kindOf[type] : loose ?? kindOf[type];
        for (const kind of new Set([exact, loose ?? exact, 0])) {
          const packed = instance.pack(type, rows, nRows, first, k, kind);
          assert.equal(packed.written, nRows);
          for (let r = 0; r < nRows; r++) {
            const bytes = rowBytes(type, columns);
            dequantise(
              type,
              rows.subarray(r * bytes, (r + 1) * bytes),
              expected,
            );
            const out = instance.allocate(4 * k);
            const row = packed.pointer + r * packed.rowBytes;
            kernels.unpack_row(kind, row, k, out);
            const shard = expected.subarray(first, first + k);
            const where = `kind ${kind}, row ${r}, columns ${first} + ${k}`;
            // `+ 0` makes -0 equal to +0, as a weight.
            assert.deepEqual(
              instance.floats(out, k).map((x) => x + 0),
              shard.map((x) => x + 0),
              where,
            );
          }
        }
      }
    });
  }

  Deno.test(`${build}: packed halves of weights below 64 are not subnormal`, () => {
    const random = seededRandom(20);
    for (let round = 0; round < 30; round++) {
      instance.reset();
      const k = 1 + Math.floor(random() * 200);
      // Below 2^6 is what has an exponent below 6 + 15.
      const largest = 0x400 * Math.floor(random() * 22);
      const half = () =>
        Math.floor(random() * largest) | (random() < 0.5 ? 0x8000 : 0);
      const packed = instance.pack(
        "F16",
        randomRows("F16", k, random, half),
        1,
        0,
        k,
      );
      const halves = instance.bytes(packed.pointer + 16, packed.rowBytes - 16);
      for (let i = 1; i < halves.length; i += 2) {
        const isZero = halves[i] % 128 + halves[i - 1] === 0;
        assert.ok(
          isZero || (halves[i] & 0x7c) !== 0,
          `of ${k}, half ${i >> 1}`,
        );
      }
    }
  });

  Deno.test(`${build}: MXFP4 blocks of zeros have no subnormal scale`, () => {
    instance.reset();
    const rows = new Uint8Array(4 * 17);
    // Zero has a sign there.
    rows.fill(0x88, 17, 34);
    rows[17] = 1;
    const { pointer } = instance.pack("MXFP4", rows, 1, 0, 128);
    assert.deepEqual([...instance.floats(pointer + 64, 4)], [0, 0, 0, 0]);
    rows[5] = 1;
    const other = instance.pack("MXFP4", rows, 1, 0, 128);
    assert.equal(instance.floats(other.pointer + 64, 4)[0], 2 ** -128);
  });

  Deno.test(`${build}: repack refuses what it cannot hold exactly`, () => {
    const rows = new Uint8Array(18);
    const written = (type: number, kind: number) =>
      kernels.repack(type, kind, instance.put(rows), 1, 18, 0, 32, 0, 80);
    assert.equal(written(ggmlTypes.Q4_0.id, kindOf.Q8_0), 0);
    assert.equal(written(ggmlTypes.Q6_K.id, kindOf.Q4_0), 0);
    assert.equal(written(9, 0), 0);
    assert.equal(written(ggmlTypes.Q4_0.id, 99), 0);
  });

  Deno.test(`${build}: repack refuses groups that are not whole where only such have a kind`, () => {
    for (const type of Object.keys(looseKindOf) as GgmlType[]) {
      const columns = 512;
      const rows = randomRows(type, columns, seededRandom(3), () => 0x3c00);
      const written = (first: number, k: number, kind: number) => {
        instance.reset();
        return instance.pack(type, rows, 1, first, k, kind).written;
      };
      const kind = kindOf[type], loose = looseKindOf[type]!;
      const isKQuant = ggmlTypes[type].blockSize > 128;
      assert.equal(written(128, 256, kind), 1);
      assert.equal(written(128, 192, kind), 0);
      assert.equal(written(96, 256, kind), isKQuant ? 0 : 1);
      assert.equal(written(96, 192, loose), 1);
    }
  });
}
