/**
 * Batches by a queue: `chaos` kills workers and the queue's server, cuts a worker
 * off and lets the disk fill up, and checks each answer; `scaling` measures what
 * the queue costs, and what a second worker brings.
 *
 * Run: `deno task bench:queue chaos|scaling`
 *
 * @module
 */
import { load } from "../mod.ts";
import { createServer, readBatch, runBatch } from "../server.ts";
import { concurrencyOf } from "../cli/commands/batch/output.ts";
import { tempFolder } from "../tests/cli/temp_folder.ts";
import { NatsServer } from "../tests/helpers/nats.ts";
import { seededRandom } from "../tests/helpers/seeded_random.ts";
import {
  culm,
  finished,
  requests,
  run,
  stopwatch,
  Worker,
} from "../tests/nats/chaos.ts";
import { tinyBamboo } from "../tiny/tiny.ts";

const [what, seed = String(Date.now() % 1e6)] = Deno.args;

/** Texts that are written at the same time. */
const parallel = 16;
/** Lines of which a rate is measured. */
const measured = 1000;
const tokens = 24;
/** Of which the best is taken. */
const rounds = 3;

if (what === "chaos") {
  console.log(`seed ${seed}`);
  await run({
    lines: 5000,
    tokens: 64,
    workers: 3,
    killEvery: 4,
    parting: 20,
    restarts: 2,
    full: 5,
    ackWait: 5,
    gap: 10,
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
  const alone = await bestOf(secondsAlone);
  const one = await bestOf(() => secondsOf(1));
  const two = await bestOf(() => secondsOf(2));
  const each = (seconds: number) => (1000 * seconds / measured).toFixed(2);
  console.log(`a line of ${tokens} tokens, one thread each, in ms:
without a queue: ${each(alone)}
one worker:      ${each(one)}, ${each(one - alone)} more
two workers:     ${each(two)}, ${(one / two).toFixed(2)} times as fast as one`);
}

async function bestOf(measure: () => Promise<number>): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < rounds; i++) best = Math.min(best, await measure());
  return best;
}

/** Seconds for all lines in this process. */
async function secondsAlone(): Promise<number> {
  await using model = await load(tinyBamboo(), { threads: 1 });
  await using server = createServer(model, { parallel, timeLimit: 0 });
  const lines = readBatch(requests(measured, tokens));
  const seconds = stopwatch();
  const results = runBatch(lines, {
    fetch: (request) => server.fetch(request),
    concurrency: concurrencyOf(parallel),
    created: 1,
  });
  for await (const { response } of results) {
    if (response.status_code !== 200) throw new Error("a line was refused");
  }
  return Number(seconds());
}

/** Seconds for all lines from when they are submitted until they are fetched, by workers that wait for them. */
async function secondsOf(count: number): Promise<number> {
  await using folder = await tempFolder();
  await using server = await NatsServer.start();
  const { path } = folder;
  const at = ["--queue", server.url];
  const submit = async (lines: number) => {
    const input = `${path}/in-${lines}.jsonl`;
    await Deno.writeTextFile(input, requests(lines, tokens));
    return await finished(culm(path, ["batch", "submit", input, ...at]));
  };
  const fetched = (batch: string) =>
    finished(culm(path, ["batch", "fetch", batch, ...at]));
  const workers = Array.from({ length: count }, () => new Worker(path, at));
  // With the first, all have loaded their model.
  await fetched(await submit(100 * count));
  const seconds = stopwatch();
  await fetched(await submit(measured));
  const taken = Number(seconds());
  await Promise.all(workers.map((worker) => worker.stop()));
  return taken;
}
