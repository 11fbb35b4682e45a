/** Many texts on both sides, in a process that is watched. Needs an adapter; one in software will do. */
import assert from "node:assert/strict";
import { testWithAdapter } from "./helpers/adapter.ts";
import type { LongRun } from "./helpers/long_run.ts";

/** Garbage is collected when it is asked for, and at once, also where all cores are busy. */
const collecting = "--v8-flags=--expose-gc,--single-threaded-gc";
const longRun = `${import.meta.dirname}/helpers/long_run.ts`;

testWithAdapter(
  "10,000 tokens on both sides: no wrong one, and no byte more at the end",
  async () => {
    // In a process of its own, for other tests take memory of this one.
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", collecting, longRun],
      stderr: "inherit",
    }).output();
    assert.equal(code, 0);
    const { texts, backend, gpu }: LongRun = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    assert.match(backend, /WASM .* \+ WebGPU/);
    assert.match(gpu, /synchronous read-back/);
    assert.equal(texts.length, 50);
    for (const { tokens, wrong } of texts) {
      assert.deepEqual([tokens, wrong], [200, 0]);
    }
    assert.equal(new Set(texts.map(({ device }) => device)).size, 1);
    // A leak grows from text to text; a heap or a pool that grows once, whenever
    // other tests leave it the time, is none.
    const grownFrom = (first: number, last: number) =>
      texts[last].rss - texts[first].rss;
    const grown = Math.min(grownFrom(10, 30), grownFrom(30, 49));
    assert(grown < 16 << 20, `the process grew by ${grown} bytes twice`);
  },
);
