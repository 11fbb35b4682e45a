import assert from "node:assert/strict";
import type { Engine } from "../../src/engine/engine.ts";
import { Session } from "../../src/generate/session.ts";

Deno.test("a session takes any number of ids at once", async () => {
  const sequence = { resume() {}, length: 0, drop() {} };
  const logits = Float32Array.of(1);
  const engine = {
    createSequence: () => sequence,
    evaluate: () => Promise.resolve([logits]),
  } as unknown as Engine;
  using session = new Session(engine);
  // More than a call can have arguments.
  const ids = new Array<number>(1_000_000).fill(7);
  assert.equal(await session.append(ids), logits);
  assert.equal(session.ids.length, ids.length);
});
