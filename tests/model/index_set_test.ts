import assert from "node:assert/strict";
import fc from "fast-check";
import {
  compact,
  complementOf,
  indexAt,
  type IndexSet,
  lengthOf,
  listOf,
  numbering,
  sectionOf,
  spanOf,
} from "../../src/model/index_set.ts";

const count = 40;
const lists = fc.uniqueArray(fc.nat(count - 1)).map((ids) =>
  Uint32Array.from(ids).sort()
);
const ranges = fc.tuple(fc.nat(count), fc.nat(count)).map(([a, b]) => ({
  start: Math.min(a, b),
  end: Math.max(a, b),
}));
const sets: fc.Arbitrary<IndexSet> = fc.oneof(lists, ranges);
const ids = (set: IndexSet) => [...listOf(set)];

Deno.test("a set and its complement hold every index once", () => {
  fc.assert(fc.property(sets, (set) => {
    const all = [...ids(set), ...ids(complementOf(set, count))];
    assert.deepEqual(
      all.sort((a, b) => a - b),
      Array.from({ length: count }, (_, i) => i),
    );
  }));
});

Deno.test("numbers, sections, span and compact form tell of the same indices", () => {
  fc.assert(fc.property(sets, fc.nat(count), fc.nat(count), (set, a, b) => {
    const all = ids(set);
    assert.equal(lengthOf(set), all.length);
    const numberOf = numbering(set);
    all.forEach((index, i) => {
      assert.equal(indexAt(set, i), index);
      assert.equal(numberOf(index), i);
    });
    assert.deepEqual(ids(compact(set)), all);
    const start = Math.min(a, b, all.length);
    const end = Math.min(Math.max(a, b), all.length);
    assert.deepEqual(
      ids(sectionOf(set, { start, end })),
      all.slice(start, end),
    );
    const span = spanOf(set);
    if (all.length > 0) {
      assert.deepEqual([span.start, span.end], [all[0], all.at(-1)! + 1]);
    }
  }));
});
