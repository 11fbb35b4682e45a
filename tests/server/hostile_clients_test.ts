/**
 * Clients that send nonsense, nothing, too much or too slowly, that do not read,
 * and that go away: each gets what it deserves, others the answers that they get
 * alone, and nothing is kept of it.
 */
import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import type { ServerOptions } from "../../server.ts";
import { RecordedWorkers } from "../helpers/recorded_workers.ts";
import { connect, type RawClient, requestText } from "./raw_client.ts";
import { tinyServer } from "./tiny_server.ts";

const short = { prompt: "Tom had a", max_tokens: 4, temperature: 0 };
const lasting = {
  prompt: "Tom had a",
  max_tokens: 480,
  ignore_eos: true,
  temperature: 0,
};
/** So long that a client is gone before its end, however fast the machine is */
const endless = { ...lasting, max_tokens: 4000 };
/** Prompts of several steps, each another one */
const long = (i: number) => ({
  prompt: Array(4000).fill(300 + i),
  max_tokens: 4,
});
const path = "/v1/completions";

/** A server on a socket. */
async function served(options: ServerOptions = {}, threads = 0) {
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  const tiny = await tinyServer(
    { metrics: true, parallel: 4, onError, ...options },
    { threads, contextSize: 8192 },
  );
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    tiny.server.fetch,
  );
  const { port } = http.addr;
  const ask = async (body: object) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    const { choices, error } = await response.json();
    return error ? `${response.status}` : choices[0].text as string;
  };
  const figure = async (name: string) => {
    const text = await (await tiny.get("/metrics")).text();
    return Number(text.match(new RegExp(`^${name} (.*)$`, "m"))![1]);
  };
  /** Waits until nothing is being written, waits or holds a page. */
  const calm = async () => {
    const names = [
      "llamacpp:requests_processing",
      "llamacpp:requests_deferred",
      "culm:kv_pages_taken",
    ];
    for (;;) {
      const busy = await Promise.all(names.map(figure));
      if (busy.every((count) => count === 0)) return;
      await delay(5);
    }
  };
  return {
    tiny,
    /** Those that no request is to blame for */
    errors,
    port,
    ask,
    figure,
    calm,
    async [Symbol.asyncDispose]() {
      await tiny[Symbol.asyncDispose]();
      await http.shutdown();
    },
  };
}

/** What a client does, and what comes of it. */
interface Misdeed {
  readonly act: (client: RawClient, i: number) => Promise<unknown>;
  /** What it is told, where it stays to read */
  readonly said?: RegExp;
  /** Tokens that twenty of them are worth, were they to stay: less than half of it is computed */
  readonly worth?: number;
}

const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n`;
const misdeeds: Record<string, Misdeed> = {
  "no HTTP": {
    act: async (client) => await (await client.send("\0\x01?\r\n\r\n")).rest(),
    said: /^HTTP\/1\.1 400 [^]*connection: close/,
  },
  "a header of a megabyte": {
    act: async (client) => {
      await client.send(`${head}X: ${"x".repeat(2 ** 20)}\r\n\r\n`);
      await client.rest();
    },
    said: /^(HTTP\/1\.1 4\d\d |$)/,
  },
  "more headers than anybody needs": {
    act: async (client) => {
      await client.send(`${head}${"X: x\r\n".repeat(200)}\r\n`);
      await client.rest();
    },
    said: /^HTTP\/1\.1 4\d\d /,
  },
  "chunks without sizes": {
    act: async (client) => {
      await client.send(`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}`);
      await client.rest();
    },
    said: /^(HTTP\/1\.1 4\d\d |$)/,
  },
  "a chunk larger than there is": {
    act: async (client) => {
      const size = "fffffffffffffffff";
      await client.send(
        `${head}Transfer-Encoding: chunked\r\n\r\n${size}\r\n{}\r\n`,
      );
      await client.rest();
    },
    said: /^(HTTP\/1\.1 4\d\d |$)/,
  },
  "two lengths": {
    act: async (client) => {
      await client.send(
        `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
      );
      await client.rest();
    },
    said: /^HTTP\/1\.1 400 /,
  },
  "a body that is shorter than it says": {
    act: async (client) => {
      await client.send(requestText(path, short, { length: 10 }));
      await client.connection.closeWrite();
      await client.rest();
    },
    said: /^(HTTP\/1\.1 4\d\d |$)/,
  },
  "a body that is longer than it says": {
    act: async (client) => {
      await client.send(`${requestText(path, short)}more\r\n\r\n`);
      await client.rest();
    },
    said: /^HTTP\/1\.1 200 [^]*"finish_reason":"length"[^]*HTTP\/1\.1 400 /,
  },
  "requests one behind the other": {
    act: async (client) => {
      await client.send(requestText(path, short).repeat(3));
      await client.until(/(HTTP\/1\.1 200 [^]*"object"[^]*){3}\}$/);
    },
    said: /^(HTTP\/1\.1 200 [^]*"finish_reason":"length"[^]*){3}$/,
  },
  "HTTP/1.0": {
    act: async (client) => {
      const body = { ...short, stream: true };
      await client.send(requestText(path, body, { version: "1.0" }));
      await client.rest();
    },
    said: /^HTTP\/1\.0 200 (?![^]*chunked)[^]*data: \[DONE\]\n\n$/,
  },
  "a stream left in its midst": {
    act: async (client) => {
      await client.send(requestText(path, { ...endless, stream: true }));
      await client.until(/data: .*\n\ndata: /);
    },
    worth: 20 * 4000,
  },
  "a stream left in its prompt": {
    act: async (client, i) => {
      await client.send(requestText(path, { ...long(i), stream: true }));
      await client.until(/^HTTP\/1\.1 200/);
    },
    worth: 20 * 4000,
  },
  "a stream half closed": {
    act: async (client) => {
      await client.send(requestText(path, { ...endless, stream: true }));
      await client.until(/data: /);
      await client.connection.closeWrite();
      await client.rest();
    },
    worth: 20 * 4000,
  },
  "a request left behind its last byte": {
    act: (client, i) => client.send(requestText(path, long(i))),
  },
  "a body left in its midst": {
    act: (client) => client.send(requestText(path, short, { length: 99 })),
  },
  "a head left in its midst": {
    act: (client) => client.send(head),
  },
  "a stream that is not read": {
    act: async (client) => {
      await client.send(requestText(path, { ...lasting, stream: true }));
      await delay(20);
    },
  },
};

for (const [name, { act, said, worth }] of Object.entries(misdeeds)) {
  Deno.test(`20 times ${name}: others have their answers, and nothing is left`, async () => {
    await using server = await served();
    const alone = await server.ask(short);
    const once = async (i: number) => {
      using client = await connect(server.port);
      await act(client, i);
      if (said) assert.match(client.said, said);
    };
    const [, others] = await Promise.all([
      Promise.all(Array.from({ length: 20 }, (_, i) => once(i))),
      Promise.all(Array.from({ length: 5 }, () => server.ask(short))),
    ]);
    assert.deepEqual(others, others.map(() => alone));
    await server.calm();
    const evaluated = await server.figure("culm:tokens_evaluated_total");
    if (worth) assert.ok(evaluated < worth / 2, `${evaluated} tokens`);
    assert.equal(await server.ask(short), alone);
    assert.deepEqual(server.errors, []);
  });
}

Deno.test("who sends a body for longer than --timeout says is told so", async () => {
  await using server = await served({ timeLimit: 0.2 });
  using client = await connect(server.port);
  await client.send(requestText(path, short, { length: 1e6 }));
  const answered = client.until(/\}$/);
  while (client.said === "") {
    await client.send(" ");
    await delay(5);
  }
  assert.match(await answered, /^HTTP\/1\.1 408 [^]*more than 0\.2 seconds/);
});

Deno.test("a worker that dies under load costs nobody a token", async () => {
  using workers = new RecordedWorkers();
  await using server = await served({}, 1);
  const bodies = Array.from({ length: 5 }, (_, i) => ({
    prompt: `${"Lily went. ".repeat(i)}Tom had`,
    max_tokens: 8,
    ignore_eos: true,
    seed: i,
  }));
  const alone = [];
  for (const body of bodies) alone.push(await server.ask(body));
  for (let round = 0; round < 2; round++) {
    const steps = () => server.figure("llamacpp:n_decode_total");
    const before = await steps();
    const together = Promise.all(bodies.map(server.ask));
    while (await steps() < before + 3) await delay(1);
    const worker = workers.started.at(-1)!;
    worker.terminate();
    worker.onerror!(new ErrorEvent("error", { message: "killed" }));
    assert.deepEqual(await together, alone);
  }
  assert.equal(workers.started.length, 3);
  await server.calm();
  assert.deepEqual(server.errors, []);
});
