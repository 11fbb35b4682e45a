import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import {
  Queue,
  resultStream,
  subjects,
  workStream,
} from "../../cli/queue/queue.ts";
import { rangesOf, readRange, writeRange } from "../../cli/queue/ranges.ts";
import { readResults } from "../../cli/queue/results.ts";
import { submitBatch } from "../../cli/queue/submit.ts";
import { type BatchResult, readBatch } from "../../server.ts";
import { decoded, runHere } from "../cli/run_cli.ts";
import { tempFolder } from "../cli/temp_folder.ts";
import { hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { requests, Worker } from "./chaos.ts";

const batch = `batch_${"0".repeat(32)}`, key = "model";
const program = `${import.meta.dirname}/poison_worker.ts`;
const { signal } = new AbortController();

/** Puts requests into a queue that gives them to another worker after one second. */
async function submitted(queue: Queue, text: string): Promise<void> {
  await queue.setUp(key, 1000);
  const lines = readBatch(text);
  const submission = { batch, key, created: 1, lines };
  await submitBatch(queue, submission, { lines: 8, signal });
}

/** Waits until no range waits, or is under way. */
async function untilIdle({ manager }: Queue): Promise<void> {
  for (;;) {
    const info = await manager.consumers.info(workStream, key);
    if (info.num_pending + info.num_ack_pending === 0) return;
    await delay(50);
  }
}

async function resultsOf(queue: Queue): Promise<BatchResult[]> {
  const manifest = await queue.manifest(batch);
  return await readResults(queue, batch, manifest!, {
    signal,
    onProgress: () => {},
  });
}

/** A worker that is started anew as long as it ends; gives what all of them said. */
function keepWorking({ url }: NatsServer) {
  let child: Deno.ChildProcess, isOver = false;
  const said = (async () => {
    const texts: string[] = [];
    while (!isOver) {
      child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "-A", program, url, key],
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      texts.push(decoded(await child.output()).err);
    }
    return texts.join("");
  })();
  return async () => {
    isOver = true;
    child.kill();
    return await said;
  };
}

testNeeding(needs.nats, hasNats, {
  name:
    "lines that end workers, or fail, are tried three times; the others are answered",
  fn: async () => {
    await using server = await NatsServer.start();
    await using queue = await Queue.open({ queue: server.url }, "test");
    const text = requests(12, 1).replace("Tom had 3 balls", "poison")
      .replace("Tom had 7 balls", "it fails");
    await submitted(queue, text);
    const stop = keepWorking(server);
    const results = await resultsOf(queue);
    await stop();
    const statuses = results.map(({ response }) => response.status_code);
    const expected = Array.from(
      { length: 12 },
      (_, i) => i === 3 || i === 7 ? 500 : 200,
    );
    assert.deepEqual(statuses, expected);
    const messages = [3, 7].map((i) =>
      (results[i].response.body as { error: { message: string } }).error.message
    );
    assert.deepEqual(messages, [
      "Cannot answer: each of the 3 workers that tried this line ended",
      "it fails",
    ]);
    for (const at of [3, 7]) {
      const tries = subjects.tries(batch, at, "*");
      assert.equal(await queue.purge(resultStream, tries), 3);
    }
  },
});

function isRange(text: string): boolean {
  try {
    readRange(new TextEncoder().encode(text), 1e6);
    return true;
  } catch {
    return false;
  }
}

/** A message like a good one, with some bytes changed, taken away or put in. */
function damaged(good: string, random: () => number): string {
  const at = Math.floor(random() * good.length);
  const length = Math.floor(random() * 40);
  const noise = String.fromCharCode(...Array.from(
    { length: Math.floor(random() * 3) },
    () => Math.floor(random() * 256),
  ));
  return good.slice(0, at) + noise + good.slice(at + length + 1);
}

testNeeding(needs.nats, hasNats, {
  name:
    "a thousand malformed messages are refused by one line each, and work goes on",
  fn: async () => {
    const random = seededRandom(7);
    await using server = await NatsServer.start();
    await using queue = await Queue.open({ queue: server.url }, "test");
    await queue.setUp(key, 1000);
    const text = requests(8, 1);
    const [good] = rangesOf(batch, key, readBatch(text), {
      lines: 8,
      bytes: 1e6,
    });
    const wrong = [
      writeRange({ ...good, key: "another" }),
      writeRange({ ...good, batch: `batch_${"1".repeat(32)}` }),
    ];
    while (wrong.length < 1000) {
      const text = damaged(writeRange(good), random);
      if (!isRange(text)) wrong.push(text);
    }
    await Promise.all(
      wrong.map((text, i) =>
        queue.add(subjects.range(key, batch, `${1000 + i}`), text, signal)
      ),
    );
    await submitted(queue, text);
    const stop = keepWorking(server);
    const results = await resultsOf(queue);
    await untilIdle(queue);
    const said = (await stop()).trimEnd().split("\n");
    assert.equal(results.length, 8);
    assert.equal(said.length, 1000, said.at(-1));
    assert.deepEqual(said.filter((line) => !/^refused /.test(line)), []);
    assert.match(said.join("\n"), /it is for model another, this is model/);
  },
});

testNeeding(needs.nats, hasNats, {
  name:
    "a thousand malformed results are removed, and their requests answered again",
  fn: async () => {
    const random = seededRandom(9);
    await using server = await NatsServer.start();
    await using queue = await Queue.open({ queue: server.url }, "test");
    await queue.setUp(key, 1000);
    const good = JSON.stringify({
      id: "batch_req_1",
      custom_id: "request 1",
      response: { status_code: 200, request_id: "req_1", body: {} },
    });
    const bad = Array.from({ length: 1000 }, () => damaged(good, random));
    // Four where results belong, the others behind them.
    await Promise.all(
      bad.map((text, i) =>
        queue.add(subjects.result(batch, i < 4 ? i : 4 + i), text, signal)
      ),
    );
    await submitted(queue, requests(8, 1));
    const stop = keepWorking(server);
    await untilIdle(queue);
    const fetch = ["batch", "fetch", batch, "--queue", server.url];
    const first = await runHere(fetch);
    assert.equal(first.code, 1);
    const told = first.err.trimEnd().split("\n");
    assert.equal(told.filter((line) => /^removed /.test(line)).length, 1000);
    assert.match(told.at(-1)!, /^error: .* 4 of 8 were none, and are removed/);
    await submitted(queue, requests(8, 1));
    const second = await runHere(fetch);
    await stop();
    assert.equal(second.code, 0, second.err);
    assert.equal(second.out.trimEnd().split("\n").length, 8);
  },
});

testNeeding(needs.nats, hasNats, {
  name: "what cannot be done with a batch is said in one line",
  fn: async () => {
    await using server = await NatsServer.start();
    await using folder = await tempFolder();
    const input = `${folder.path}/in.jsonl`;
    await Deno.writeTextFile(input, requests(8, 1));
    const at = ["--queue", server.url];
    const submit = ["batch", "submit", input, ...at];
    const refusals: [args: string[], why: RegExp][] = [
      [["batch", "status", "a.b", ...at], /Cannot find "a.b"/],
      [["batch", "status", batch], /Cannot find the queue/],
      [["batch", "cancel", batch, ...at], /nobody has submitted one/],
      [["batch", "fetch", batch, ...at], /nobody has submitted one/],
      [[...submit, "-m", "none.gguf"], /none.gguf/],
    ];
    for (const [args, why] of refusals) {
      const { code, out, err } = await runHere(args);
      assert.deepEqual([code > 0, out], [true, ""]);
      assert.match(err, new RegExp(`^error: .*${why.source}.*\n$`));
    }
    const { out, err } = await runHere(submit);
    assert.match(err, /^8 requests in 1 ranges, for workers of model \w+\n$/);
    const id = out.trim();
    const { err: none } = await runHere(["batch", "cancel", batch, ...at]);
    assert.match(none, /^error: There is no batch_0+ in the queue\n$/);
    const again = await runHere(submit);
    assert.equal(again.out, out);
    assert.match(again.err, /^going on with batch_\w+: 0 of 8 requests/);
    const status = async () =>
      (await runHere(["batch", "status", id, ...at])).out;
    assert.equal(await status(), "in_progress: 0 of 8 requests have results\n");
    assert.equal((await runHere(["batch", "cancel", id, ...at])).code, 0);
    assert.equal(await status(), "cancelled: 0 of 8 requests have results\n");
    assert.match((await runHere(submit)).err, /it was cancelled/);
    assert.equal((await runHere(["batch", "fetch", id, ...at])).out, "");
    assert.equal((await runHere(["batch", "delete", id, ...at])).code, 0);
    assert.equal((await runHere(submit)).out, out);
  },
});

testNeeding(needs.nats, hasNats && Deno.build.os !== "windows", {
  name: "a worker that is told to end gives its ranges back at once",
  fn: async () => {
    await using server = await NatsServer.start();
    await using folder = await tempFolder();
    const input = `${folder.path}/in.jsonl`;
    await Deno.writeTextFile(input, requests(150, 24));
    const at = ["--queue", server.url];
    const wait = ["--ack-wait", "3600"];
    const id = (await runHere(["batch", "submit", input, ...at, ...wait])).out
      .trim();
    await using queue = await Queue.open({ queue: server.url }, "test");
    using first = new Worker(folder.path, at);
    while ((await queue.answered(id, 150)).size === 0) await delay(20);
    const said = await first.stop();
    const count = Number(said.match(/stopped after (\d+) requests\n$/)![1]);
    assert.ok(count < 150, said);
    using second = new Worker(folder.path, at);
    const { code, err } = await runHere(["batch", "fetch", id, ...at]);
    assert.deepEqual([code, err], [
      0,
      "150 requests: 150 answered, 0 refused\n",
    ]);
    await second.stop();
  },
});
