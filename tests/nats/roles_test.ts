/** The configuration of deploy/, by its own server. */
import assert from "node:assert/strict";
import { connectNats } from "../../cli/nats/connection.ts";
import {
  Queue,
  resultStream,
  subjects,
  submitterName,
  workerName,
  workStream,
} from "../../cli/queue/queue.ts";
import { submitBatch } from "../../cli/queue/submit.ts";
import { readResults } from "../../cli/queue/results.ts";
import { QueueWorker } from "../../cli/queue/worker.ts";
import { readBatch } from "../../server.ts";
import { deployedConfig, hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { requests } from "./chaos.ts";

const batch = `batch_${"0".repeat(32)}`, key = "model";

testNeeding(needs.nats, hasNats, {
  name:
    "the roles of deploy/nats.conf do their work, and a worker neither submits nor deletes",
  fn: async () => {
    await using server = await NatsServer.start(await deployedConfig());
    const flags = (natsUser: string) => ({ queue: server.url, natsUser });
    Deno.env.set("NATS_PASSWORD", "submitter");
    await using queue = await Queue.open(flags("submitter"), submitterName);
    Deno.env.set("NATS_PASSWORD", "worker");
    await using own = await Queue.open(flags("worker"), workerName);
    const connection = await connectNats(
      server.url,
      flags("worker"),
      "culm batch",
    );
    Deno.env.delete("NATS_PASSWORD");
    await queue.setUp(key, 1000);
    const lines = readBatch(requests(50, 1));
    const stop = new AbortController();
    const { signal } = stop;
    await submitBatch(queue, { batch, key, created: 1, lines }, {
      lines: 8,
      signal,
    });

    const message = subjects.range(key, batch, "99");
    await assert.rejects(own.add(message, "", signal), /Permissions Violation/);
    for (
      const refused of [
        () => own.purge(workStream, "culm.work.>"),
        () => own.purge(resultStream, subjects.result(batch, "*")),
        () => own.manager.streams.delete(workStream),
        () => own.manager.streams.deleteMessage(resultStream, 1),
        () => own.change(batch, { cancelled: true }),
        () => own.delete(batch, key),
        () => own.setUp("other", 1000),
        () => own.manager.consumers.delete(workStream, key),
      ]
    ) await assert.rejects(refused(), /Permissions Violation/i);
    // Nor does it listen to what others are told.
    const listening = connection.subscribe("_INBOX.culm_batch.>");
    assert.match(String(await listening.closed), /Permissions Violation/);
    await connection.close();

    const worker = new QueueWorker(own, {
      key,
      concurrency: 4,
      signal,
      fetch: () => Promise.resolve(Response.json({ text: "so" })),
    });
    const working = worker.run();
    const manifest = (await queue.manifest(batch))!;
    const results = await readResults(queue, batch, manifest, {
      signal,
      onProgress: () => {},
    });
    assert.equal(results.length, 50);
    assert.equal(
      await own.add(subjects.result(batch, 0), "another", signal),
      false,
    );
    assert.equal(await queue.delete(batch, key), 50);
    stop.abort();
    await working;
  },
});
