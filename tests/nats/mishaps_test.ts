/** What is interrupted, forged or lost in a queue, in one process. */
import assert from "node:assert/strict";
import { Queue, workStream } from "../../cli/queue/queue.ts";
import { submitBatch } from "../../cli/queue/submit.ts";
import { QueueWorker } from "../../cli/queue/worker.ts";
import { readBatch } from "../../server.ts";
import { hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { requests } from "./chaos.ts";

const batch = `batch_${"0".repeat(32)}`, key = "model";

/** A queue of a server of its own, with one connection. */
async function openQueue() {
  const server = await NatsServer.start();
  const queue = await Queue.open({ queue: server.url }, "test");
  const stop = new AbortController();
  const { signal } = stop;
  return {
    queue,
    signal,
    submit: async (count: number, lines: number, signal = stop.signal) => {
      await queue.setUp(key, 10_000);
      const submission = {
        batch,
        key,
        created: 1,
        lines: readBatch(requests(count, 1)),
      };
      return await submitBatch(queue, submission, { lines, signal });
    },
    /** Has a worker answer until `isDone`. */
    work: async (isDone: () => Promise<boolean>, of = key) => {
      const worker = new QueueWorker(queue, {
        key: of,
        concurrency: 4,
        signal,
        fetch: () => Promise.resolve(Response.json({ text: "so" })),
      });
      const working = worker.run();
      while (!await isDone()) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      stop.abort();
      await working;
    },
    /** Whether no range waits, or is under way. */
    isIdle: async () => {
      const info = await queue.manager.consumers.info(workStream, key);
      return info.num_pending + info.num_ack_pending === 0;
    },
    async [Symbol.asyncDispose]() {
      await queue[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

testNeeding(needs.nats, hasNats, {
  name:
    "a batch that was interrupted goes on with ranges of another size, and all lines are answered",
  fn: async () => {
    await using at = await openQueue();
    const { queue: { js } } = at;
    const publish = js.publish.bind(js);
    const interrupt = new AbortController();
    js.publish = async (...args) => {
      const added = await publish(...args);
      if (added.stream === workStream) interrupt.abort();
      return added;
    };
    await assert.rejects(at.submit(300, 8, interrupt.signal), /abort/i);
    assert.ok(await at.submit(300, 64) < 8);
    await at.work(at.isIdle);
    assert.equal((await at.queue.answered(batch)).size, 300);
  },
});
