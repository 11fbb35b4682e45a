import assert from "node:assert/strict";
import { Random, randomSeed } from "../src/random.ts";

Deno.test("the generator gives xoshiro128++'s published outputs", () => {
  const random = Random.fromState([1, 2, 3, 4]);
  const published = [
    641,
    1573767,
    3222811527,
    3517856514,
    836907274,
    4247214768,
    3867114732,
    1355841295,
    495546011,
    621204420,
  ];
  assert.deepEqual(published.map(() => random.nextUint32()), published);
});

Deno.test("numbers are even over [0, 1), whatever the seed", () => {
  for (const seed of [0, 1, 42, 2 ** 53 - 1]) {
    const random = new Random(seed);
    const buckets = new Array(10).fill(0);
    for (let i = 0; i < 20000; i++) buckets[Math.floor(random.next() * 10)]++;
    // Chi-squared with 9 degrees of freedom passes 33.7 once in 10,000 times.
    const chi = buckets.reduce((sum, n) => sum + (n - 2000) ** 2 / 2000, 0);
    assert.ok(chi < 33.7, `seed ${seed}: ${buckets}`);
  }
});

Deno.test("random seeds differ", () => {
  assert.ok(new Set(Array.from({ length: 8 }, randomSeed)).size > 1);
});
