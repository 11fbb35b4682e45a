/** A batch that workers answer while they are killed and cut off, and its queue dies and has no room. */
import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { Queue } from "../../cli/queue/queue.ts";
import { decoded, startCli } from "../cli/run_cli.ts";
import { tempFolder } from "../cli/temp_folder.ts";
import { NatsServer } from "../helpers/nats.ts";
import { Proxy } from "./proxy.ts";

/** What a batch goes through. */
export interface Chaos {
  readonly lines: number;
  /** Tokens of each answer */
  readonly tokens: number;
  readonly workers: number;
  /** Between two kills of a worker, on average, in seconds */
  readonly killEvery: number;
  /** Most kills */
  readonly kills: number;
  /** How long the first worker is cut off, in seconds */
  readonly parting: number;
  /** How often the queue's server is killed */
  readonly restarts: number;
  /** How long it has no room, in seconds */
  readonly full: number;
  /** After which ranges are given to others, in seconds */
  readonly ackWait: number;
  /** Between two of these, in seconds */
  readonly gap: number;
  readonly random: () => number;
  readonly tell: (line: string) => void;
}

/** Requests that differ, twenty of which begin alike. */
export function requests(count: number, tokens: number): string {
  return Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      custom_id: `request ${i}`,
      method: "POST",
      url: "/v1/completions",
      body: {
        prompt: `Once there were ${i % 20} dogs. Tom had ${i} balls.`,
        max_tokens: tokens,
      },
    })).join("\n");
}

/** A command, with what it may do. */
export function culm(folder: string, args: readonly string[]) {
  return startCli(args, {
    permissions: [
      `--allow-read=${folder}`,
      `--allow-write=${folder}`,
      "--allow-net=127.0.0.1",
    ],
  });
}

/** Lets a command end; gives what it printed. */
export async function finished(child: Deno.ChildProcess): Promise<string> {
  await child.stdin.close();
  const { code, out, err } = decoded(await child.output());
  assert.equal(code, 0, err);
  return out.trim();
}

/** A worker that is started anew where it ends. */
export class Worker implements Disposable {
  #child!: Deno.ChildProcess;
  #isStopping = false;
  readonly #said: Promise<string>;
  kills = 0;

  constructor(
    readonly folder: string,
    readonly args: readonly string[],
    readonly threads = 1,
  ) {
    this.#said = this.#keepUp();
  }

  /** Gives what the last one said. */
  async #keepUp(): Promise<string> {
    for (;;) {
      const args = ["worker", "-t", `${this.threads}`, ...this.args];
      this.#child = culm(this.folder, args);
      const { code, err } = decoded(await this.#child.output());
      await this.#child.stdin.close().catch(() => {});
      if (this.#isStopping) {
        // The others have not begun, or were not asked.
        assert.ok([0, 130, 137, 143].includes(code), err);
        return err;
      }
      // One that finds no queue ends.
      if (code !== 137) await delay(200);
    }
  }

  kill(): void {
    this.kills++;
    this.#signal("SIGKILL");
  }

  /** Has it end in its own time; gives what it said. */
  async stop(): Promise<string> {
    this.#isStopping = true;
    this.#signal("SIGTERM");
    return await this.#said;
  }

  [Symbol.dispose](): void {
    this.#isStopping = true;
    this.#signal("SIGKILL");
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended by itself.
    }
  }
}

/**
 * Has workers answer a batch through all of that, and fails where one result is
 * not there, is there twice, or differs from what one machine answers.
 */
export async function run(chaos: Chaos): Promise<void> {
  const { lines, tell } = chaos;
  await using folder = await tempFolder();
  const { path } = folder;
  const input = `${path}/in.jsonl`;
  await Deno.writeTextFile(input, requests(lines, chaos.tokens));
  const seconds = stopwatch();
  const one = ["batch", input, "-o", `${path}/one.jsonl`, "-t", "1"];
  await finished(culm(path, one));
  tell(`one machine, one thread: ${lines} requests in ${seconds()} s`);

  await using server = await NatsServer.start();
  await using proxy = new Proxy(server.port);
  const at = ["--queue", server.url];
  const ackWait = ["--ack-wait", String(chaos.ackWait)];
  const batch = await finished(
    culm(path, ["batch", "submit", input, ...at, ...ackWait]),
  );
  const again = stopwatch();
  const fetching = culm(path, [
    ...["batch", "fetch", batch, ...at, "-o", `${path}/out.jsonl`],
  ]);
  const fetched = finished(fetching);
  const workers = Array.from(
    { length: chaos.workers },
    (_, i) => new Worker(path, i === 0 ? ["--queue", proxy.url] : at),
  );
  await using queue = await Queue.open({ queue: server.url }, "chaos");
  const count = () =>
    queue.answered(batch, chaos.lines).then(
      ({ size }) => size,
      () => undefined,
    );
  await trouble(chaos, server, proxy, workers, count);
  await fetched;
  await Promise.all(workers.map((worker) => worker.stop()));
  const kills = workers.reduce((sum, { kills }) => sum + kills, 0);
  tell(`${chaos.workers} workers, ${kills} kills: ${again()} s`);

  const texts = await Promise.all(
    ["one", "out"].map((name) => Deno.readTextFile(`${path}/${name}.jsonl`)),
  );
  assert.ok(texts[0] === texts[1], "the results differ from one machine's");
  const ids = texts[1].trimEnd().split("\n")
    .map((line) => JSON.parse(line).custom_id);
  assert.equal(new Set(ids).size, lines);
  assert.equal(await count(), lines);
  tell(`${lines} results, each once, equal to one machine's to the last byte`);
}

/** Kills workers until all is answered; meanwhile the other things happen, one after another. */
async function trouble(
  { lines, killEvery, kills, parting, restarts, full, gap, random, tell }:
    Chaos,
  server: NatsServer,
  proxy: Proxy,
  workers: readonly Worker[],
  count: () => Promise<number | undefined>,
): Promise<void> {
  const happenings: (() => Promise<void>)[] = [
    async () => {
      tell(`a worker is cut off for ${parting} s`);
      proxy.part();
      await delay(1000 * parting);
      proxy.join();
    },
    ...Array.from({ length: restarts }, () => async () => {
      tell("the queue's server is killed, and started anew");
      await server.stop();
      await delay(1000);
      await server.start();
    }),
    async () => {
      tell(`the queue has no room for ${full} s`);
      await server.stop("SIGTERM");
      await server.start("max_file_store: 1");
      await delay(1000 * full);
      await server.stop("SIGTERM");
      await server.start();
    },
  ];
  let isDone = false;
  const killing = (async () => {
    for (let i = 0, before = 0; i < kills; i++) {
      await delay(1000 * killEvery * (0.5 + random()));
      // Where other programs keep the cores busy, nothing would be answered else.
      while (!isDone && (await count() ?? 0) <= before) await delay(100);
      if (isDone) return;
      before = await count() ?? before;
      workers[Math.floor(random() * workers.length)].kill();
    }
  })();
  while ((await count() ?? 0) === 0) await delay(100);
  const going: Promise<void>[] = [];
  for (const happening of happenings) {
    await delay(1000 * gap);
    assert.ok((await count() ?? 0) < lines, "it was over too soon");
    // The first worker is cut off beside what else happens.
    if (going.length === 0) going.push(happening());
    else await happening();
  }
  while ((await count() ?? 0) < lines) await delay(200);
  isDone = true;
  await Promise.all([killing, ...going]);
}

/** Seconds since it was made. */
function stopwatch(): () => string {
  const start = performance.now();
  return () => ((performance.now() - start) / 1000).toFixed(2);
}
