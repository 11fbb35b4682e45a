/** Many texts on both sides, in a process that is watched. Needs an adapter; one in software will do. */
import assert from "node:assert/strict";
import { testWithAdapter } from "./helpers/adapter.ts";
import { isFlat, type LongRun } from "./helpers/long_run.ts";

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
    assert(texts.length >= 50);
    for (const { tokens, wrong } of texts) {
      assert.deepEqual([tokens, wrong], [200, 0]);
    }
    assert.equal(new Set(texts.map(({ device }) => device)).size, 1);
    const sizes = texts.map(({ rss }) => rss >> 20).join(" ");
    assert(isFlat(texts), `the process grows from text to text, MiB: ${sizes}`);
  },
);
