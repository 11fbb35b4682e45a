import assert from "node:assert/strict";
import fc from "fast-check";
import { ReadQueue } from "../../../src/places/threads/read_queue.ts";

function makeQueue(): ReadQueue {
  return new ReadQueue(new SharedArrayBuffer(64 + ReadQueue.byteLength), 64);
}

Deno.test("ranges come in order, forgotten ones and those beyond the room not at all", () => {
  fc.assert(fc.property(
    fc.array(fc.oneof(
      fc.record({ want: fc.integer({ min: 1, max: 2 ** 40 }) }),
      fc.record({ wantMany: fc.integer({ min: 1, max: 700 }) }),
      fc.constant("take" as const),
      fc.constant("forget" as const),
    )),
    (acts) => {
      const queue = makeQueue();
      let waiting: { offset: number; length: number }[] = [];
      const want = (offset: number, length: number) => {
        queue.want(offset, length);
        if (waiting.length < 1024) waiting.push({ offset, length });
      };
      for (const act of acts) {
        if (act === "forget") {
          queue.forget();
          waiting = [];
        } else if (act === "take") {
          // To wait would be for ever.
          if (waiting.length > 0) {
            assert.deepEqual(queue.take(), waiting.shift());
          }
        } else if ("want" in act) want(act.want, act.want % 1000);
        else for (let i = 0; i < act.wantMany; i++) want(i, i);
      }
      for (const range of waiting) assert.deepEqual(queue.take(), range);
    },
  ));
});

Deno.test("a queue that is closed gives nothing any more", () => {
  const queue = makeQueue();
  queue.want(1, 2);
  queue.close();
  assert.equal(queue.take(), undefined);
});
