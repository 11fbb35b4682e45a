import assert from "node:assert/strict";
import { Control } from "../../../src/places/threads/control.ts";

Deno.test("a thread that has gone to sleep at a barrier is woken", async () => {
  const buffer = new SharedArrayBuffer(Control.byteLength);
  const url = new URL("../../helpers/barrier_worker.ts", import.meta.url);
  const workers = [0, 1].map(() => new Worker(url, { type: "module" }));
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error("A thread still sleeps")),
    20_000,
  );
  try {
    const passed = workers.map((worker, index) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      worker.onmessage = () => resolve();
      worker.postMessage({ buffer, index, barriers: 6 });
      return promise;
    });
    await Promise.race([Promise.all(passed), late.promise]);
    // They slept, one or the other, at each.
    const sleptMs = new Control(buffer, 0, 2, 2).takeSleptMs();
    assert(sleptMs > 300, `they slept for ${sleptMs} ms`);
  } finally {
    clearTimeout(timer);
    for (const worker of workers) worker.terminate();
  }
});
