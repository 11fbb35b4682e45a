/** How many cores other work leaves. */
import assert from "node:assert/strict";
import { freeCores } from "../../src/platform/free_cores.ts";

/** Keeps a core busy for long enough; a loop without an end goes on when Deno has terminated its worker. */
const busy = `postMessage("begun");
for (const start = performance.now(); performance.now() < start + 4000;);`;

Deno.test({
  name: "work that keeps all cores busy leaves fewer of them",
  ignore: navigator.hardwareConcurrency < 2,
  async fn() {
    const cores = navigator.hardwareConcurrency;
    const loop = URL.createObjectURL(new Blob([busy]));
    const others = Array.from(
      { length: 2 * cores },
      () => new Worker(loop, { type: "module" }),
    );
    try {
      await Promise.all(
        others.map((other) =>
          new Promise((resolve) => other.onmessage = resolve)
        ),
      );
      const free = await freeCores(cores);
      assert.ok(free >= 1 && free < cores, `${free} of ${cores}`);
    } finally {
      for (const other of others) other.terminate();
      URL.revokeObjectURL(loop);
    }
  },
});

Deno.test("where no worker can be started, all cores count as free", async () => {
  const { Worker } = globalThis;
  globalThis.Worker = class {
    constructor() {
      throw new Error("not permitted");
    }
  } as unknown as typeof Worker;
  try {
    assert.equal(await freeCores(3), 3);
  } finally {
    globalThis.Worker = Worker;
  }
});
