import assert from "node:assert/strict";
import { merged } from "../../src/server/merged.ts";

Deno.test("what several sources give comes in the order of time, each asked when its last was taken", async () => {
  const asked: string[] = [];
  async function* source(name: string, turns: number) {
    for (let i = 0; i < 3; i++) {
      asked.push(name + i);
      for (let t = 0; t < turns; t++) await undefined;
      yield name + i;
    }
  }
  const stop = () => assert.fail("nothing was left");
  const given: string[] = [];
  for await (const each of merged([source("a", 1), source("b", 40)], stop)) {
    given.push(each);
  }
  assert.deepEqual(given.slice(0, 3), ["a0", "a1", "a2"]);
  assert.deepEqual(given.slice(3), ["b0", "b1", "b2"]);
  assert.equal(asked.length, 6);
});

Deno.test("one that fails ends the others, and so does who stops listening", async () => {
  const ended: string[] = [];
  async function* source(name: string, fails: boolean, stopped: AbortSignal) {
    try {
      yield name;
      if (fails) throw new Error(`${name} failed`);
      // Goes on only where it is stopped.
      await new Promise((resolve) =>
        stopped.addEventListener("abort", resolve)
      );
    } finally {
      ended.push(name);
    }
  }
  const failing = new AbortController();
  const sources = ["a", "b"].map((name) =>
    source(name, name === "b", failing.signal)
  );
  await assert.rejects(
    Array.fromAsync(merged(sources, () => failing.abort())),
    /b failed/,
  );
  assert.deepEqual(ended.sort(), ["a", "b"]);

  ended.length = 0;
  const leaving = new AbortController();
  const others = ["c", "d"].map((name) => source(name, false, leaving.signal));
  for await (const _ of merged(others, () => leaving.abort())) break;
  assert.deepEqual(ended.sort(), ["c", "d"]);
});
