/** The index of n-grams, against a search of the whole text. */
import assert from "node:assert/strict";
import { NgramIndex } from "../../src/generate/ngram_index.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

/** The longest match of the last tokens with earlier ones, the latest of the longest. */
function search(
  ids: readonly number[],
  size: number,
): { at: number; length: number } | undefined {
  let best: { at: number; length: number } | undefined;
  for (let at = ids.length - 1; at >= size; at--) {
    let length = 0;
    while (
      length < at && ids[at - 1 - length] === ids[ids.length - 1 - length]
    ) length++;
    if (length >= size && length > (best?.length ?? 0)) best = { at, length };
  }
  return best;
}

Deno.test("the index finds the longest match, the latest of the longest", () => {
  let found = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed);
    const size = 1 + seed % 4, vocabSize = 2 + seed % 7;
    const ids: number[] = [];
    const index = new NgramIndex(size);
    // Short enough for all places of an n-gram to be compared.
    for (let i = 0; i < 32; i++) {
      const id = Math.floor(vocabSize * random());
      ids.push(id);
      index.push(id);
      const expected = search(ids, size);
      assert.deepEqual(index.match(), expected);
      found += Number(expected !== undefined);
    }
  }
  assert(found > 500);
});

Deno.test("whatever the text, a match stands at the end and before", () => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = seededRandom(seed);
    const size = 1 + seed % 4;
    const ids = Array.from({ length: 600 }, () => Math.floor(3 * random()));
    const index = new NgramIndex(size, ids);
    const { at, length } = index.match()!;
    assert(length >= size && at < ids.length);
    assert.deepEqual(ids.slice(at - length, at), ids.slice(-length));
    assert.deepEqual(
      index.following({ at, length }, 3),
      [...ids, ...ids.slice(at)].slice(at, at + 3),
    );
  }
});

Deno.test("what follows a place that runs into the end is the repeat", () => {
  const index = new NgramIndex(2, [9, 1, 2, 3, 1, 2]);
  assert.deepEqual(index.match(), { at: 3, length: 2 });
  assert.deepEqual(index.following(index.match()!, 7), [3, 1, 2, 3, 1, 2, 3]);
  const same = new NgramIndex(2, [5, 5, 5]);
  assert.deepEqual(same.following(same.match()!, 3), [5, 5, 5]);
});

Deno.test("a text without repeats, or shorter than an n-gram, has no match", () => {
  for (const ids of [[], [1], [1, 2], [1, 2, 3, 4, 5, 6], [1, 2, 1, 3]]) {
    assert.equal(new NgramIndex(2, ids).match(), undefined);
  }
});
