/**
 * Measures `culm serve` under load, over loopback: more and more clients at the
 * same time, whose prompts and answers are of mixed lengths; then what a short
 * request waits for behind a long prompt.
 *
 * Run: `deno task bench:serve --model=FILE [--clients=1,2,4,8,16,64] [--seconds=5] [--long=4000] [-- FLAGS OF SERVE]`
 *
 * @module
 */
import { parseArgs } from "node:util";
// @ts-types="../src/std/text_line_stream.d.ts"
import { TextLineStream } from "@std/streams/text-line-stream";
import { exitWith, numberOf, optionsOf } from "./options.ts";

const { model, clients, seconds, long, flags } = optionsOf(() => {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      model: { type: "string" },
      clients: { type: "string", default: "1,2,4,8,16,64" },
      seconds: { type: "string", default: "5" },
      long: { type: "string", default: "4000" },
    },
  });
  const { model, clients, seconds, long } = values;
  if (model === undefined) throw new Error("--model=FILE says what is served");
  const counts = clients.split(",").map((n) => numberOf(n, "--clients"));
  return {
    model,
    clients: counts,
    seconds: numberOf(seconds, "--seconds"),
    long: numberOf(long, "--long", { type: "integer", minimum: 0 }),
    flags: positionals,
  };
});

/** What one answer took, in ms. */
interface Taken {
  readonly first: number;
  /** Between its tokens */
  readonly gaps: readonly number[];
}

/** A server of its own process. */
class Served implements AsyncDisposable {
  private constructor(
    readonly process: Deno.ChildProcess,
    readonly url: string,
  ) {}

  static async start(): Promise<Served> {
    const main = new URL("../cli/main.ts", import.meta.url).pathname;
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", main, "serve", "-m", model, "--port", "0", ...flags],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const lines = process.stderr.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    const url = Promise.withResolvers<string>();
    (async () => {
      for await (const line of lines) {
        const address = /^listening on (.+)$/.exec(line)?.[1];
        if (address) url.resolve(address);
        else if (!line.startsWith("load")) console.error(line);
      }
      url.reject(new Error("the server has ended"));
    })();
    return new Served(process, await url.promise);
  }

  /** What it holds, in MiB. */
  async memory(): Promise<number> {
    const { stdout } = await new Deno.Command("ps", {
      args: ["-o", "rss=", "-p", String(this.process.pid)],
    }).output();
    return Number(new TextDecoder().decode(stdout)) / 1024;
  }

  /** Asks for `tokens` tokens behind a prompt of `length` that no other has. */
  async ask(
    length: number,
    tokens: number,
    signal?: AbortSignal,
    onToken = () => {},
  ): Promise<Taken> {
    const start = performance.now();
    const response = await fetch(`${this.url}/completion`, {
      method: "POST",
      body: JSON.stringify({
        prompt: Array.from({ length }, () => 1000 + random(1000)),
        n_predict: tokens,
        ignore_eos: true,
        stream: true,
      }),
      signal,
    });
    if (!response.ok) throw new Error(await response.text());
    const lines = response.body!.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    let first: number | undefined, last = start;
    const gaps: number[] = [];
    for await (const line of lines) {
      if (!line.startsWith("data: ") || line.includes('"stop":true')) continue;
      const now = performance.now();
      if (first === undefined) first = now - start;
      else gaps.push(now - last);
      last = now;
      onToken();
    }
    if (gaps.length !== tokens - 1) {
      throw new Error(`${gaps.length + 1} of ${tokens} tokens came`);
    }
    return { first: first!, gaps };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGTERM");
    await this.process.status;
  }
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

/** The value below which this share of them lies. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** So many clients, one request after another each. */
async function load(served: Served, count: number): Promise<string[]> {
  const before = await served.memory();
  const stop = new AbortController();
  const taken: Taken[] = [];
  let tokens = 0;
  const start = performance.now();
  const client = async () => {
    while (!stop.signal.aborted) {
      const answer = served.ask(
        8 + random(56),
        32 + random(64),
        stop.signal,
        () => tokens++,
      );
      try {
        taken.push(await answer);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    }
  };
  const all = Promise.all(Array.from({ length: count }, client));
  const timer = setTimeout(() => stop.abort(), 1000 * seconds);
  await all;
  clearTimeout(timer);
  const rate = 1000 * tokens / (performance.now() - start);
  const firsts = taken.map(({ first }) => first);
  const gaps = taken.flatMap(({ gaps }) => gaps);
  const [middle, late] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
  return [
    String(count),
    rate.toFixed(1),
    quantile(firsts, 0.5).toFixed(0),
    quantile(firsts, 0.99).toFixed(0),
    middle.toFixed(1),
    late.toFixed(1),
    (late / middle).toFixed(1),
    `${before.toFixed(0)} → ${(await served.memory()).toFixed(0)}`,
  ];
}

try {
  await using served = await Served.start();
  await served.ask(100, 16); // code is compiled, pages are made
  console.log(
    `| clients | tokens/s | first token, median | p99 | between tokens, median | p99 | ratio | MiB |
| --- | --- | --- | --- | --- | --- | --- | --- |`,
  );
  for (const count of clients) {
    console.log(`| ${(await load(served, count)).join(" | ")} |`);
  }
  if (long > 0) {
    const alone = await served.ask(16, 16);
    const stop = new AbortController();
    const behind = served.ask(long, 1, stop.signal).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const short = await served.ask(16, 16);
    const other = await Promise.race([
      behind.then((taken) => taken && `${taken.first.toFixed(0)} ms`),
      new Promise((resolve) => setTimeout(resolve, 20_000, "over 20 s")),
    ]);
    stop.abort();
    await behind;
    console.log(
      `\nfirst token of 16: ${alone.first.toFixed(0)} ms alone, ${
        short.first.toFixed(0)
      } ms behind a prompt of ${long} (${other}); between its tokens ${
        quantile(short.gaps, 0.5).toFixed(1)
      } ms, ${quantile(alone.gaps, 0.5).toFixed(1)} alone`,
    );
  }
} catch (error) {
  exitWith(error);
}
