import assert from "node:assert/strict";
import fc from "fast-check";
import { PrefixIndex } from "../../src/gateway/prefix_index.ts";
import {
  blockHashes,
  blockSize,
  promptText,
} from "../../src/gateway/prompt_blocks.ts";
import { type Candidate, route } from "../../src/gateway/route.ts";

const nameOf = (i: number) => Math.imul(i + 1, 0x9e3779b1);
const candidate = (load: number, i: number): Candidate => ({
  name: nameOf(i),
  holder: i,
  load,
});
const loads = fc.array(fc.nat(6), { minLength: 1, maxLength: 5 });

Deno.test("hashes of blocks are equal up to the block in which two texts differ, and of one model alone", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 900 });
  fc.assert(fc.property(text, text, text, (common, a, b) => {
    const [left, right] = [common + a, common + b];
    let alike = 0;
    while (alike < left.length && left[alike] === right[alike]) alike++;
    const shared = Math.floor(alike / blockSize);
    const [ours, theirs] = [left, right].map((text) => blockHashes(text, "m"));
    assert.deepEqual(ours.slice(0, shared), theirs.slice(0, shared));
    for (let i = shared; i < Math.min(ours.length, theirs.length); i++) {
      assert.notEqual(ours[i], theirs[i]);
    }
    for (const [i, hash] of blockHashes(left, "n").entries()) {
      assert.notEqual(hash, ours[i]);
    }
  }));
});

Deno.test("a chat that goes on begins as it did, whatever stands around its messages", () => {
  const messages = ["a", "b", "c", "d"].map((letter, i) => ({
    role: i % 2 ? "assistant" : "user",
    content: letter.repeat(blockSize),
  }));
  const hashes = (body: Record<string, unknown>) =>
    blockHashes(promptText(body), "m");
  const before = hashes({ seed: 1, messages: messages.slice(0, 2), n: null });
  const after = hashes({ messages, stream: true });
  assert.ok(before.length >= 2 && after.length > before.length);
  assert.deepEqual(after.slice(0, before.length), before);
  const tools = [{ type: "function", function: { name: "f" } }];
  assert.notEqual(hashes({ tools, messages })[0], after[0]);
});

Deno.test("an index keeps the keys that were used last, and of a prompt the first ones", () => {
  const index = new PrefixIndex(4);
  index.add([1, 2, 3], 7);
  index.add([1, 4, 5], 8);
  assert.equal(index.size, 4);
  assert.deepEqual([1, 2, 3, 4, 5].map((key) => index.has(key)), [
    true,
    true,
    false,
    true,
    true,
  ]);
  assert.deepEqual(index.longest([1, 2, 3], new Set([7, 8])), [7]);
  assert.deepEqual(index.longest([1, 6], new Set([7, 8])), [8, 7]);
  assert.deepEqual(index.longest([1, 2, 3], new Set([8])), [8]);
  assert.deepEqual([7, 8, 9].map((holder) => index.countOf(holder)), [1, 3, 0]);
});

Deno.test("a request goes where most of it was seen, never to one that is too busy, and is known there", () => {
  const prompts = fc.array(
    fc.tuple(loads, fc.array(fc.nat(2), { maxLength: 4 })),
    { maxLength: 20 },
  );
  fc.assert(fc.property(prompts, fc.nat(3), (requests, threshold) => {
    const index = new PrefixIndex(1000);
    /** What each candidate has seen, as texts of whole prefixes */
    const seen = Array.from({ length: 5 }, () => new Set<string>());
    for (const [loads, parts] of requests) {
      const prefixes = parts.map((_, i) => parts.slice(0, i + 1).join("-"));
      const blocks = prefixes.map((text) =>
        blockHashes(text.padEnd(256), "")[0]
      );
      const candidates = loads.map(candidate);
      const options = { threshold, random: Math.random };
      const [first, ...others] = candidates;
      const chosen = route([first, ...others], { blocks }, index, options);
      const open = candidates.filter(({ load }) =>
        load <= Math.min(...loads) + threshold
      );
      const known = ({ holder }: Candidate) =>
        prefixes.filter((text) => seen[holder].has(text)).length;
      assert.ok(open.includes(chosen));
      // Of a key four that have seen it are known, and there are five.
      const best = Math.max(...open.map(known));
      if (best > 0) assert.ok(known(chosen) > 0);
      if (best > 0 && candidates.length < 5) {
        assert.equal(known(chosen), best);
        const rivals = open.filter((each) => known(each) === best);
        const least = Math.min(...rivals.map(({ load }) => load));
        assert.ok(chosen.load <= least + 2 * rivals.length);
      }
      for (const text of prefixes) seen[chosen.holder].add(text);
    }
  }));
});

Deno.test("a session stays, and moves where its upstream is too busy or gone", () => {
  const index = new PrefixIndex(100);
  const options = { threshold: 2, random: () => 0 };
  const asked = { session: 99, blocks: [] };
  const ask = (loads: [number, number, number]) => {
    const [first, ...others] = loads.map(candidate);
    return route([first, ...others], asked, index, options).holder;
  };
  const home = ask([0, 0, 0]);
  const busy = (load: number) =>
    [0, 1, 2].map((i) => i === home ? load : 0) as [number, number, number];
  assert.equal(ask(busy(2)), home);
  const other = ask(busy(3));
  assert.notEqual(other, home);
  const [left] = [candidate(0, 0), candidate(0, 1), candidate(0, 2)]
    .filter(({ holder }) => holder !== home && holder !== other);
  assert.equal(route([left], asked, index, options), left);
});

Deno.test("what nobody has seen is drawn alike by gateways that do not know one another, and spread", () => {
  const candidates: [Candidate, ...Candidate[]] = [
    candidate(0, 0),
    ...[1, 2, 3].map((i) => candidate(0, i)),
  ];
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 4000; i++) {
    const blocks = blockHashes(`${i}`.padEnd(256), "m");
    const [one, other] = [0.1, 0.9].map((random) =>
      route(candidates, { blocks }, new PrefixIndex(9), {
        threshold: 8,
        random: () => random,
      })
    );
    assert.equal(one, other);
    counts[one.holder]++;
  }
  // 1000 each, with a standard deviation of 27.
  for (const count of counts) {
    assert.ok(Math.abs(count - 1000) < 150, `${counts}`);
  }
});

Deno.test("of two that are drawn the less busy one is taken, so that queues are even", () => {
  const queues = Array<number>(10).fill(0);
  const index = new PrefixIndex(1);
  for (let i = 0; i < 2000; i++) {
    const [first, ...others] = queues.map(candidate);
    const options = { threshold: Infinity, random: Math.random };
    queues[route([first, ...others], { blocks: [] }, index, options).holder]++;
  }
  // Of one that is drawn alone the longest would have some 240.
  assert.ok(Math.max(...queues) < 210, `${queues}`);
});

Deno.test("prompts that nobody has seen are spread by how many each has to remember", () => {
  const index = new PrefixIndex(1000);
  const counts = [0, 0, 0];
  for (let i = 0; i < 20; i++) {
    // Some have a request more or two, by chance.
    const [first, ...others] = [0, 1, 2].map((j) => candidate((i + j) % 3, j));
    const blocks = blockHashes(`${i}`.padEnd(256 * 16), "m");
    const options = { threshold: 8, random: Math.random };
    counts[route([first, ...others], { blocks }, index, options).holder]++;
  }
  assert.ok(Math.max(...counts) <= 8, `${counts}`);
});
