/**
 * Measures `culm gateway`, over loopback: `delay` is what it adds to an answer, in
 * turns with the same request without it; `prefixes` is how many tokens of prompts
 * three servers evaluate that share what they begin with; `chaos` drains, kills
 * and adds servers under load, and counts the requests that fail.
 *
 * Run: `deno task bench:gateway delay|prefixes|chaos [--model=FILE] [--seconds=20]`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { delay } from "@std/async/delay";
import { serve, type Served } from "../tests/cli/served.ts";
import { tempFolder } from "../tests/cli/temp_folder.ts";
import { eventsOf, FakeUpstream } from "../tests/gateway/fake_upstream.ts";
import { seededRandom } from "../tests/helpers/seeded_random.ts";
import { exitWith, numberOf, optionsOf } from "./options.ts";

const { what, model, seconds } = optionsOf(() => {
  const { values, positionals: [what] } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      model: { type: "string" },
      seconds: { type: "string", default: "20" },
    },
  });
  return { ...values, what, seconds: numberOf(values.seconds, "--seconds") };
});

const random = seededRandom(1);
const below = (n: number) => Math.floor(random() * n);

function start(command: string, args: readonly string[]): Promise<Served> {
  const quiet = ["--port", "0", "--log-disable", ...args];
  return serve(quiet, ["-A"], { command });
}

/** Starts a server of the model, or of the embedded one, on one thread. */
function startServer(args: readonly string[] = []): Promise<Served> {
  const file = model === undefined ? [] : ["-m", model];
  return start("serve", [...file, "-t", "1", "--metrics", ...args]);
}

async function post(url: string, body: object): Promise<Response> {
  return await fetch(`${url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify(body),
  });
}

/** The value below which this share of them lies. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Upstreams that answer at once, in this process; the gateway is in one of its own. */
async function measureDelay(): Promise<void> {
  const upstreams = Array.from({ length: 3 }, () =>
    new FakeUpstream({
      answer: () =>
        eventsOf((async function* () {
          for (let i = 0; i < 8; i++) yield "x".repeat(200);
        })()),
    }));
  const urls = upstreams.map(({ url }) => url);
  await using gateway = await start("gateway", ["--upstream", urls.join()]);
  console.log("| clients | way | p50 ms | p90 | p99 | most |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const clients of [1, 8]) {
    const direct: number[] = [], through: number[] = [];
    const end = performance.now() + 500 * seconds;
    const client = async () => {
      for (let turn = 0; performance.now() < end; turn++) {
        // 1,000 tokens, about, that no other prompt has.
        const prompt = Array.from({ length: 500 }, () => below(1e6)).join(" ");
        const ways = [[urls[below(3)], direct], [
          gateway.url,
          through,
        ]] as const;
        for (const [url, times] of turn % 2 ? ways : ways.toReversed()) {
          const since = performance.now();
          await (await post(url, { prompt, stream: true })).text();
          times.push(performance.now() - since);
        }
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    const added = through.map((ms, i) => ms - direct[i]);
    for (
      const [way, all] of [
        ["direct", direct],
        ["gateway", through],
        ["added", added],
      ] as const
    ) {
      // The first ones are compiled.
      const times = all.slice(100);
      const cells = [0.5, 0.9, 0.99, 1].map((share) =>
        quantile(times, share).toFixed(2)
      );
      console.log(`| ${[clients, way, ...cells].join(" | ")} |`);
    }
    console.log(`${through.length} requests by the gateway`);
  }
  for (const each of upstreams) await each.kill();
}

/** 20 prefixes of 1,000 tokens (or what the embedded model's context holds), 10 requests of each in any order, by 6 clients. */
async function measurePrefixes(): Promise<void> {
  const [length, own, count, each] = [model ? 1000 : 400, 16, 20, 10];
  const ids = (n: number) =>
    Array.from({ length: n }, () => 1000 + below(1000));
  const prefixes = Array.from({ length: count }, () => ids(length));
  const prompts = prefixes.flatMap((prefix) =>
    Array.from({ length: each }, () => [...prefix, ...ids(own)])
  ).map((prompt) => [random(), prompt] as const)
    .sort(([a], [b]) => a - b).map(([, prompt]) => prompt);
  const servers = await Promise.all([0, 1, 2].map(() => startServer()));
  const urls = servers.map(({ url }) => url);
  await using gateway = await start("gateway", ["--upstream", urls.join()]);
  const since = performance.now();
  const client = async () => {
    for (let prompt; (prompt = prompts.pop());) {
      const response = await post(gateway.url, { prompt, max_tokens: 4 });
      if (!response.ok) throw new Error(await response.text());
      await response.text();
    }
  };
  await Promise.all(Array.from({ length: 6 }, client));
  const evaluated = await Promise.all(urls.map(async (url) => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(text.match(/^llamacpp:prompt_tokens_total (.*)$/m)![1]);
  }));
  const all = evaluated.reduce((a, b) => a + b, 0);
  const least = count * (length + each * own);
  console.log(
    `${all} tokens of prompts evaluated (${evaluated.join(", ")}), ${
      (all / least).toFixed(3)
    } times the least, ${least}, in ${
      ((performance.now() - since) / 1000).toFixed(0)
    } s; without what was shared ${count * each * (length + own)}`,
  );
  for (const server of servers) await server[Symbol.asyncDispose]();
}

/** Servers are drained, told to stop, killed and added under load, again and again. */
async function chaos(): Promise<void> {
  await using folder = await tempFolder();
  const list = `${folder.path}/servers`;
  const servers = await Promise.all([0, 1, 2].map(() => startServer()));
  const write = (of: readonly Served[]) =>
    Deno.writeTextFile(list, of.map(({ url }) => `${url}\n`).join(""));
  await write(servers);
  await using gateway = await start("gateway", [
    ...["--upstreams-file", list, "--health-check-interval-secs", "0.2"],
  ]);
  const counts = { answered: 0, brokenOff: 0, failed: 0 };
  const end = performance.now() + 1000 * seconds;
  const client = async () => {
    while (performance.now() < end) {
      const prompt = `Tom had ${below(20)} balls. `.repeat(10);
      const asked = { prompt, max_tokens: 1 + below(40), stream: true };
      let text = "";
      try {
        const response = await post(gateway.url, asked);
        if (response.ok) text = await response.text();
        else console.error(await response.text());
      } catch (error) {
        console.error(String(error));
      }
      if (text.endsWith("data: [DONE]\n\n")) counts.answered++;
      else if (text.includes('"text"')) counts.brokenOff++;
      else counts.failed++;
    }
  };
  const clients = Array.from({ length: 6 }, client);
  const deeds = ["drained", "stopped", "killed"];
  for (let turn = 0; performance.now() < end - 3000; turn++) {
    const [oldest, ...others] = servers;
    const added = await startServer();
    servers.splice(0, 3, ...others, added);
    const deed = deeds[turn % deeds.length];
    if (deed === "stopped") oldest.child.kill("SIGTERM");
    if (deed === "killed") oldest.child.kill("SIGKILL");
    if (deed !== "drained") await delay(500);
    await write(servers);
    gateway.child.kill("SIGHUP");
    await delay(1500);
    await oldest[Symbol.asyncDispose]();
    console.log(`${deed} one, added one: ${JSON.stringify(counts)}`);
  }
  await Promise.all(clients);
  console.log(JSON.stringify(counts));
  for (const server of servers) await server[Symbol.asyncDispose]();
  if (counts.failed > 0) throw new Error(`${counts.failed} requests failed`);
}

const measures = { delay: measureDelay, prefixes: measurePrefixes, chaos };
try {
  if (!Object.hasOwn(measures, what ?? "")) {
    throw new Error("say delay, prefixes or chaos");
  }
  await measures[what as keyof typeof measures]();
} catch (error) {
  exitWith(error);
}
