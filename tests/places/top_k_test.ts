import assert from "node:assert/strict";
import fc from "fast-check";
import { topKThreshold } from "../../src/places/top_k.ts";

Deno.test("what is above the threshold is the share with the largest magnitudes", () => {
  const value = fc.oneof(
    fc.constant(0),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
  );
  fc.assert(
    fc.property(
      fc.uniqueArray(value, {
        minLength: 1,
        maxLength: 60,
        selector: Math.abs,
      }),
      fc.nat(100),
      fc.integer({ min: 1, max: 100 }),
      (distinct, zeros, percent) => {
        const values = Float32Array.from([
          ...distinct,
          ...Array(zeros).fill(0),
        ]);
        const share = percent / 100;
        const threshold = topKThreshold(
          [values.subarray(0, 7), values.subarray(7)],
          share,
        );
        const magnitudes = values.map(Math.abs);
        const most = Math.ceil(share * values.length);
        const expected = magnitudes.toSorted().reverse().slice(0, most)
          .filter((magnitude) => magnitude > 0);
        const kept = magnitudes.filter((magnitude) => magnitude > threshold)
          .toSorted().reverse().filter((magnitude) => magnitude > 0);
        assert.deepEqual([...kept], [...expected]);
      },
    ),
  );
});
