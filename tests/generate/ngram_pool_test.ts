/** The pool of n-grams, against a search of the whole text. */
import assert from "node:assert/strict";
import { NgramDrafter } from "../../src/generate/ngram_drafter.ts";
import { type Guess, NgramPool } from "../../src/generate/ngram_pool.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

/** What followed the longest of the n-grams that a pool keeps, by the last two places where it stood. */
function search(ids: readonly number[], size: number): Guess | undefined {
  for (const length of [16, 8, 4, 2, 1].map((times) => times * size)) {
    if (length > ids.length) continue;
    const end = ids.slice(-length).join();
    const followers: number[] = [];
    for (let at = length; at < ids.length; at++) {
      if (ids.slice(at - length, at).join() === end) followers.push(ids[at]);
    }
    const [id, before] = followers.reverse();
    if (id === undefined) continue;
    const support = before === undefined
      ? "once"
      : before === id
      ? "same"
      : "changed";
    return { id, length, support };
  }
}

/** A pool that has learned a text. */
function poolOf(ids: readonly number[], size: number): NgramPool {
  const pool = new NgramPool(1 << 12);
  ids.forEach((id, i) => pool.learn(ids.slice(0, i), size, id));
  return pool;
}

/** All that a drafter would draft, were it free. */
async function drafted(
  ids: readonly number[],
  size: number,
  most: number,
): Promise<readonly number[]> {
  using drafter = new NgramDrafter(new NgramPool(64), size, ids);
  const costs = { ms: () => 1, sequences: 1, prompts: 0 };
  const draft = await drafter.draft({ costs, least: 1, most });
  // Nothing is learned of what is drafted.
  assert.deepEqual(await drafter.draft({ costs, least: 1, most }), draft);
  return draft;
}

Deno.test("what followed the longest n-gram last is guessed, with what followed it before", () => {
  const found = { changed: 0, once: 0, same: 0, none: 0 };
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed);
    const size = 1 + seed % 4, vocabSize = 2 + seed % 7;
    const pool = new NgramPool(1 << 12);
    const ids: number[] = [];
    for (let i = 0; i < 80; i++) {
      // Some stretches come again.
      const id = random() < 0.6 && i > 20
        ? ids[i - 20]
        : Math.floor(vocabSize * random());
      pool.learn(ids, size, id);
      ids.push(id);
      const guess = search(ids, size);
      assert.deepEqual(pool.guess(ids, size), guess, `${seed} ${i}`);
      found[guess?.support ?? "none"]++;
    }
  }
  assert(Object.values(found).every((count) => count > 100), `${found}`);
});

Deno.test("a pool takes the room that it has, and knows what came last", () => {
  const random = seededRandom(3);
  const size = 2, pool = new NgramPool(256), { byteLength } = pool;
  assert.equal(byteLength, 256 * 8 * 8);
  const ids: number[] = [];
  let known = 0;
  for (let i = 0; i < 20_000; i++) {
    const id = Math.floor(100_000 * random());
    pool.learn(ids, size, id);
    ids.push(id);
    if (ids.length > 40) ids.shift();
    if (ids.length <= size) continue;
    const guess = pool.guess(ids.slice(0, -1), size)!;
    assert.deepEqual([guess.id, guess.support], [id, "once"]);
    known += Number(pool.guess(ids.slice(0, 20), size)?.id === ids[20]);
  }
  assert(known > 19_000, `${known}`);
  assert.equal(pool.byteLength, byteLength);
  pool.clear();
  assert.equal(pool.guess(ids.slice(0, -1), size), undefined);
});

Deno.test("ids of any size keep their value", () => {
  for (const id of [0, 1, 262_143, 2 ** 29 - 2]) {
    const guess = poolOf([7, id, 7, id], 1).guess([7], 1);
    assert.deepEqual(guess, { id, length: 1, support: "same" });
  }
});

Deno.test("n-grams of one size are not those of another", () => {
  const ids = [1, 2, 3, 4];
  assert.equal(poolOf(ids, 3).guess([2, 3], 2), undefined);
  assert.equal(poolOf(ids, 2).guess([2, 3], 2)?.id, 4);
});

Deno.test("what follows a place that runs into the end is the repeat", async () => {
  assert.deepEqual(
    await drafted([9, 1, 2, 3, 1, 2], 2, 7),
    [3, 1, 2, 3, 1, 2, 3],
  );
  assert.deepEqual(await drafted([5, 5, 5], 2, 3), [5, 5, 5]);
});

Deno.test("a text without repeats, or shorter than an n-gram, has no draft", async () => {
  for (const ids of [[], [1], [1, 2], [1, 2, 3, 4, 5, 6], [1, 2, 1, 3]]) {
    assert.equal(poolOf(ids, 2).guess(ids, 2), undefined);
    assert.deepEqual(await drafted(ids, 2, 7), []);
  }
});
