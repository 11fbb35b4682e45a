/**
 * Measures `culm serve` under load, over loopback: more and more clients at the
 * same time, whose prompts and answers are of mixed lengths; then what a short
 * request waits for behind a long prompt. With `--minutes` it is the most clients
 * all the time, with a row a minute. With `--beside` another server of the same
 * form of requests, as llama-server is, takes turns.
 *
 * Run: `deno task bench:serve --model=FILE [--clients=1,2,4,8,16,64] [--seconds=5] [--long=4000] [--minutes=5] [--beside=URL] [--rounds=1] [-- FLAGS OF SERVE]`
 *
 * @module
 */
import { parseArgs } from "node:util";
// @ts-types="../src/std/text_line_stream.d.ts"
import { TextLineStream } from "@std/streams/text-line-stream";
import { exitWith, numberOf, optionsOf } from "./options.ts";

const options = optionsOf(() => {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      model: { type: "string" },
      clients: { type: "string", default: "1,2,4,8,16,64" },
      seconds: { type: "string", default: "5" },
      long: { type: "string", default: "4000" },
      minutes: { type: "string", default: "0" },
      beside: { type: "string" },
      rounds: { type: "string", default: "1" },
    },
  });
  const { model, clients, seconds, long, minutes, beside, rounds } = values;
  if (model === undefined) throw new Error("--model=FILE says what is served");
  const whole = { type: "integer", minimum: 0 } as const;
  return {
    model,
    clients: clients.split(",").map((n) => numberOf(n, "--clients")),
    seconds: numberOf(seconds, "--seconds"),
    long: numberOf(long, "--long", whole),
    minutes: numberOf(minutes, "--minutes", whole),
    beside,
    rounds: numberOf(rounds, "--rounds"),
    flags: positionals,
  };
});

/** What one answer took, in ms. */
interface Taken {
  readonly first: number;
  /** Between its tokens */
  readonly gaps: readonly number[];
}

/** Who answers. */
interface Server {
  readonly name: string;
  readonly url: string;
  /** What it holds, in MiB, where that is known. */
  memory(): Promise<number | undefined>;
}

/** culm, in a process of its own. */
class Culm implements Server, AsyncDisposable {
  readonly name = "culm";

  private constructor(
    readonly process: Deno.ChildProcess,
    readonly url: string,
  ) {}

  static async start(): Promise<Culm> {
    const main = new URL("../cli/main.ts", import.meta.url).pathname;
    const { model, flags } = options;
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
    return new Culm(process, await url.promise);
  }

  async memory(): Promise<number> {
    const { stdout } = await new Deno.Command("ps", {
      args: ["-o", "rss=", "-p", String(this.process.pid)],
    }).output();
    return Number(new TextDecoder().decode(stdout)) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGTERM");
    await this.process.status;
  }
}

/** Asks for `tokens` tokens behind a prompt of `length` that no other has. */
async function ask(
  { url }: Server,
  length: number,
  tokens: number,
  signal?: AbortSignal,
  onToken = () => {},
): Promise<Taken> {
  const start = performance.now();
  const response = await fetch(`${url}/completion`, {
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
    if (!line.startsWith("data: ")) continue;
    if (line.includes('"stop":true')) {
      const { tokens_predicted } = JSON.parse(line.slice("data: ".length));
      if (tokens_predicted === tokens) return { first: first!, gaps };
      throw new Error(`${tokens_predicted} of ${tokens} tokens came`);
    }
    const now = performance.now();
    if (first === undefined) first = now - start;
    else gaps.push(now - last);
    last = now;
    onToken();
  }
  throw new Error(`an answer broke off after ${gaps.length + 1} tokens`);
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

/** The value below which this share of them lies; NaN of none. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(share * sorted.length));
  return sorted[at] ?? NaN;
}

const headings = [
  "tokens/s",
  "answers",
  "first token, median",
  "p99",
  "between tokens, median",
  "p99",
  "ratio",
  "MiB",
];

/** What answers to several clients took since this was asked last. */
class Load {
  #taken: Taken[] = [];
  #tokens = 0;
  #since = performance.now();

  constructor(readonly server: Server) {}

  /** So many clients, one request after another each, until they are stopped. */
  async run(clients: number, signal: AbortSignal): Promise<void> {
    const client = async () => {
      while (!signal.aborted) {
        const [length, tokens] = [8 + random(56), 32 + random(64)];
        try {
          const onToken = () => this.#tokens++;
          const { server } = this;
          this.#taken.push(await ask(server, length, tokens, signal, onToken));
        } catch (error) {
          if (!signal.aborted) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  /** What comes under the headings. */
  async cells(): Promise<string[]> {
    const seconds = (performance.now() - this.#since) / 1000;
    const firsts = this.#taken.map(({ first }) => first);
    const gaps = this.#taken.flatMap(({ gaps }) => gaps);
    const [middle, late] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
    const cells = [
      (this.#tokens / seconds).toFixed(1),
      String(this.#taken.length),
      quantile(firsts, 0.5).toFixed(0),
      quantile(firsts, 0.99).toFixed(0),
      middle.toFixed(1),
      late.toFixed(1),
      (late / middle).toFixed(1),
      (await this.server.memory())?.toFixed(0) ?? "",
    ];
    this.#taken = [];
    this.#tokens = 0;
    this.#since = performance.now();
    return cells;
  }
}

function printRow(cells: readonly string[]): void {
  console.log(`| ${cells.join(" | ")} |`);
}

function printHead(cells: readonly string[]): void {
  printRow(cells);
  printRow(cells.map(() => "---"));
}

/** Rows of numbers of clients, in which the servers take turns. */
async function rise(servers: readonly Server[]): Promise<void> {
  printHead(["server", "clients", ...headings]);
  for (const clients of options.clients) {
    for (let round = 0; round < options.rounds; round++) {
      for (const server of servers) {
        const stop = AbortSignal.timeout(1000 * options.seconds);
        const load = new Load(server);
        await load.run(clients, stop);
        printRow([server.name, String(clients), ...await load.cells()]);
      }
    }
  }
}

/** A row a minute. */
async function last(server: Server): Promise<void> {
  const clients = Math.max(...options.clients);
  console.log(`${clients} clients`);
  printHead(["minute", ...headings]);
  const stop = new AbortController();
  const load = new Load(server);
  const running = load.run(clients, stop.signal);
  for (let minute = 1; minute <= options.minutes; minute++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, 60_000);
    await Promise.race([promise, running]);
    clearTimeout(timer);
    printRow([String(minute), ...await load.cells()]);
  }
  stop.abort();
  await running;
}

/** What a short request waits for behind a long one. */
async function behindLong(server: Server): Promise<void> {
  const alone = await ask(server, 16, 16);
  const stop = new AbortController();
  const behind = ask(server, options.long, 1, stop.signal)
    .catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const short = await ask(server, 16, 16);
  const other = await Promise.race([
    behind.then((taken) => taken && `${taken.first.toFixed(0)} ms`),
    new Promise((resolve) => setTimeout(resolve, 20_000, "over 20 s")),
  ]);
  stop.abort();
  await behind;
  console.log(
    `\nfirst token of 16: ${alone.first.toFixed(0)} ms alone, ${
      short.first.toFixed(0)
    } ms behind a prompt of ${options.long} (${other}); between its tokens ${
      quantile(short.gaps, 0.5).toFixed(1)
    } ms, ${quantile(alone.gaps, 0.5).toFixed(1)} alone`,
  );
}

try {
  await using culm = await Culm.start();
  const { beside } = options;
  const servers: Server[] = [culm];
  if (beside !== undefined) {
    const memory = () => Promise.resolve(undefined);
    servers.push({ name: "other", url: beside.replace(/\/$/, ""), memory });
  }
  // Code is compiled, pages are made.
  for (const server of servers) await ask(server, 100, 16);
  if (options.minutes > 0) await last(culm);
  else {
    await rise(servers);
    if (options.long > 0) await behindLong(culm);
  }
} catch (error) {
  exitWith(error);
}
