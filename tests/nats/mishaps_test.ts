/** What is interrupted, forged or lost in a queue, in one process. */
import assert from "node:assert/strict";
import { askWorkers } from "../../cli/queue/ask_workers.ts";
import { labUrls } from "../../cli/queue/lab_requests.ts";
import {
  type Manifest,
  Queue,
  subjects,
  workStream,
} from "../../cli/queue/queue.ts";
import { readResults } from "../../cli/queue/results.ts";
import { submitBatch } from "../../cli/queue/submit.ts";
import { QueueWorker } from "../../cli/queue/worker.ts";
import { CulmError } from "../../mod.ts";
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
    server,
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
    work: async (isDone: () => Promise<unknown>, of = key) => {
      const worker = new QueueWorker(queue, {
        key: of,
        concurrency: 4,
        signal,
        fetch: () => Promise.resolve(Response.json({ text: "so", result: 1 })),
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
    assert.equal((await at.queue.answered(batch, 300)).size, 300);
  },
});

testNeeding(needs.nats, hasNats, {
  name: "a result counts under the name of its line alone",
  fn: async () => {
    await using at = await openQueue();
    const { queue, signal } = at;
    await at.submit(8, 8);
    const forged = JSON.stringify({
      id: "batch_req_1",
      custom_id: "forged",
      response: { status_code: 200, request_id: "req_1", body: {} },
    });
    for (const name of ["01", "1e0", "-1", "0x1", "8"]) {
      const subject = subjects.result(batch, "*").replace("*", name);
      assert.ok(await queue.add(subject, forged, signal));
    }
    await at.work(at.isIdle);
    assert.equal((await queue.answered(batch, 8)).size, 8);
    const manifest = (await queue.manifest(batch))!;
    const results = await readResults(queue, batch, manifest, {
      signal: new AbortController().signal,
      onProgress: () => {},
    });
    assert.equal(results.length, 8);
    assert.ok(results.every(({ custom_id }) => custom_id !== "forged"));
  },
});

testNeeding(needs.nats, hasNats, {
  name: "a message whose acknowledgement is lost counts as added",
  fn: async () => {
    await using at = await openQueue();
    const { queue, signal } = at;
    await queue.setUp(key, 10_000);
    const publish = queue.js.publish.bind(queue.js);
    let published = 0;
    queue.js.publish = async (...args) => {
      const added = await publish(...args);
      if (published++ === 0) throw new Error("timeout");
      return added;
    };
    const subject = subjects.tries(batch, 0, 1);
    assert.equal(await queue.add(subject, "", signal), true);
    assert.equal(published, 2);
    assert.equal(await queue.add(subject, "", signal), false);
  },
});

testNeeding(needs.nats, hasNats, {
  name: "a worker that waits for its first batch outlasts a queue that is away",
  fn: async () => {
    await using at = await openQueue();
    const { queue } = at;
    await at.submit(8, 8);
    const consumer = queue.consumer.bind(queue);
    let asked = 0;
    queue.consumer = (key) =>
      asked++ === 0
        ? Promise.reject(new CulmError("Cannot ask for work: timeout"))
        : consumer(key);
    await at.work(async () => (await queue.answered(batch, 8)).size === 8);
  },
});

testNeeding(needs.nats, hasNats, {
  name: "what another model's batch is called reaches no terminal as it is",
  fn: async () => {
    await using at = await openQueue();
    const { queue } = at;
    await at.submit(8, 8);
    await queue.change(batch, { key: "\x1b[31m" });
    const { writeSync } = Deno.stderr;
    let said = "";
    Deno.stderr.writeSync = (bytes) => {
      said += new TextDecoder().decode(bytes);
      return bytes.length;
    };
    try {
      await at.work(at.isIdle);
    } finally {
      Deno.stderr.writeSync = writeSync;
    }
    assert.match(
      said,
      /^refused a range of batch_0+: it is for model \S+\[31m$/m,
    );
    assert.ok(!said.includes("\x1b"), said);
  },
});

testNeeding(needs.nats, hasNats, {
  name: "questions whose batch who asked the same has removed are asked anew",
  fn: async () => {
    await using at = await openQueue();
    const { queue, server } = at;
    await queue.setUp(key, 10_000);
    const flags = {
      queue: server.url,
      contextSize: 0,
      batchSize: 1,
      sparsity: { mode: "exact" },
    } as const;
    const question = { url: labUrls.scores, body: { tokens: [1, 2] } };
    const answers = askWorkers(flags, [question], {
      unit: "chunks",
      label: "test",
      range: 8,
      signal: new AbortController().signal,
    });
    let first: Manifest | undefined;
    while (!first?.submitted) {
      for await (const batch of await queue.batches.keys()) {
        first = await queue.manifest(batch);
        if (first?.submitted) await queue.delete(batch, first.key);
      }
    }
    await at.work(() => answers, first.key);
    assert.deepEqual(await answers, [1]);
  },
});
