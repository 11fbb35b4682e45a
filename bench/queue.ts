/**
 * Batches by a queue: `chaos` kills workers and the queue's server, cuts a worker
 * off and lets the disk fill up, and checks each answer; `scaling` measures what
 * the queue costs, and what a second worker brings.
 *
 * Run: `deno task bench:queue chaos|scaling`
 *
 * @module
 */
// @ts-types="../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { load } from "../mod.ts";
import { createServer, readBatch, runBatch } from "../server.ts";
import { Queue, resultStream } from "../cli/queue/queue.ts";
import { concurrencyOf } from "../cli/commands/batch/output.ts";
import { tempFolder } from "../tests/cli/temp_folder.ts";
import { NatsServer } from "../tests/helpers/nats.ts";
import { seededRandom } from "../tests/helpers/seeded_random.ts";
import { culm, finished, requests, run, Worker } from "../tests/nats/chaos.ts";
import { tinyBamboo } from "../tiny/tiny.ts";

const [what, seed = String(Date.now() % 1e6)] = Deno.args;

/** Texts that are written at the same time. */
const parallel = 16;
/** Lines of which a rate is measured, and tokens of each: some 100 ms on one thread. */
const measured = 320, tokens = 200;
/** Of which the best is taken. */
const rounds = 2;

if (what === "chaos") {
  console.log(`seed ${seed}`);
  await run({
    lines: 5000,
    tokens: 32,
    workers: 3,
    killEvery: 4,
    kills: Infinity,
    parting: 20,
    restarts: 2,
    full: 5,
    ackWait: 5,
    gap: 6,
    random: seededRandom(Number(seed)),
    tell: console.log,
  });
} else if (what === "scaling") {
  await scaling();
} else {
  console.error("error: say chaos or scaling");
  Deno.exit(2);
}

async function scaling(): Promise<void> {
  const alone = await bestOf(msAlone);
  const one = await bestOf(() => msOf(1));
  const two = await bestOf(() => msOf(2));
  const more = 100 * (one / alone - 1);
  console.log(`a line of ${tokens} tokens, one thread each, in ms:
without a queue: ${alone.toFixed(1)}
one worker:      ${one.toFixed(1)}, ${more.toFixed(1)}% more
two workers:     ${two.toFixed(1)}, ${(one / two).toFixed(2)} times as fast`);
}

async function bestOf(measure: () => Promise<number>): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < rounds; i++) best = Math.min(best, await measure());
  return best;
}

/** A line's time in this process, in ms, from the first result to the last. */
async function msAlone(): Promise<number> {
  await using model = await load(tinyBamboo(), { threads: 0 });
  await using server = createServer(model, { parallel, timeLimit: 0 });
  const lines = readBatch(requests(measured, tokens));
  const results = runBatch(lines, {
    fetch: (request) => server.fetch(request),
    concurrency: concurrencyOf(parallel),
    created: 1,
  });
  const times: number[] = [];
  for await (const { response } of results) {
    if (response.status_code !== 200) throw new Error("a line was refused");
    times.push(performance.now());
  }
  return (times.at(-1)! - times[0]) / (measured - 1);
}

/** The same by so many workers, by the times at which the queue has stored results. */
async function msOf(count: number): Promise<number> {
  await using folder = await tempFolder();
  await using server = await NatsServer.start();
  const { path } = folder;
  const at = ["--queue", server.url];
  const input = `${path}/in.jsonl`;
  await Deno.writeTextFile(input, requests(measured, tokens));
  using running = new DisposableStack();
  for (let i = 0; i < count; i++) running.use(new Worker(path, at, 0));
  // By then they have loaded their models.
  await delay(3000);
  const submit = ["batch", "submit", input, ...at, "--range", "16"];
  const batch = await finished(culm(path, submit));
  await finished(culm(path, ["batch", "fetch", batch, ...at]));
  await using queue = await Queue.open({ queue: server.url }, "bench");
  const { state } = await queue.manager.streams.info(resultStream);
  const span = Date.parse(state.last_ts) - Date.parse(state.first_ts);
  return span / (measured - 1);
}
