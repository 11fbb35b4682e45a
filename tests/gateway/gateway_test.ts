/** A gateway before servers on sockets, most of which say what a test wants. */
import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import OpenAI from "openai";
import {
  createGateway,
  type Gateway,
  type GatewayOptions,
} from "../../server.ts";
import type { ServerBindings } from "../../src/server/server_context.ts";
import { tinyServer } from "../server/tiny_server.ts";
import { type Answer, eventsOf, FakeUpstream } from "./fake_upstream.ts";

const quick = { healthInterval: 0.05, healthTimeout: 1 };
const path = "/v1/chat/completions";

/** A gateway before some servers. */
function before(
  upstreams: readonly { readonly url: string }[],
  options?: GatewayOptions,
): Gateway {
  return createGateway(upstreams.map(({ url }) => url), {
    ...quick,
    ...options,
  });
}

/** Posts JSON, or a text as it is. */
function post(
  { fetch }: Gateway,
  body: unknown = {},
  init: RequestInit = {},
  from?: ServerBindings,
): Promise<Response> {
  return fetch(
    new Request(`http://localhost${path}`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
    }),
    from,
  );
}

async function get({ fetch }: Gateway, path: string): Promise<Response> {
  return await fetch(new Request(`http://localhost${path}`));
}

async function json(response: Promise<Response>) {
  return await (await response).json();
}

/** Waits until something is so, 5 s at most. */
async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 5000; !await what(); await delay(5)) {
    assert.ok(Date.now() < end, `never: ${what}`);
  }
}

const prompt = (i: number) => ({
  messages: [{ role: "user", content: `${i} `.repeat(400) }],
});

Deno.test("models are listed once, and asked for where they are", async () => {
  await using a = new FakeUpstream({ models: ["x", "y"] });
  await using b = new FakeUpstream({ models: ["y", "z"] });
  await using gateway = before([a, { url: `${b.url}/v1/` }]);
  const { data } = await json(get(gateway, "/v1/models"));
  assert.deepEqual(data.map(({ id }: { id: string }) => id), ["x", "y", "z"]);
  assert.equal((await json(get(gateway, "/v1/models/z"))).id, "z");
  assert.equal((await get(gateway, "/v1/models/w")).status, 404);
  for (let i = 0; i < 4; i++) {
    const ask = (model: string) => json(post(gateway, { model, ...prompt(i) }));
    assert.equal((await ask("x")).by, a.port);
    assert.equal((await ask("z")).by, b.port);
    assert.equal((await ask("w")).error.code, "model_not_found");
  }
  gateway.setUpstreams([a.url, b.url]);
  assert.equal((await get(gateway, "/v1/files")).status, 404);
  assert.throws(() => gateway.setUpstreams(["ftp://a"]), /no http:\/\/HOST/);
  assert.throws(() => before([{ url: "http://me:key@a" }]), /no http:\/\/HOST/);
});

Deno.test("the only model answers to every name, as that of a server does", async () => {
  await using a = new FakeUpstream();
  await using gateway = before([a]);
  assert.equal((await json(post(gateway, { model: "any" }))).by, a.port);
});

Deno.test("prompts that begin alike go to one upstream, others are spread", async () => {
  await using a = new FakeUpstream();
  await using b = new FakeUpstream();
  await using gateway = before([a, b]);
  for (let i = 0; i < 10; i++) {
    const { messages } = prompt(i);
    const first = await json(post(gateway, { messages }));
    messages.push({ role: "assistant", content: "And?" });
    const again = await json(post(gateway, { messages, stream: false }));
    assert.equal(again.by, first.by);
  }
  assert.ok(a.bodies.length > 0 && b.bodies.length > 0);
  const users = [];
  for (let i = 0; i < 6; i++) {
    users.push((await json(post(gateway, { user: "me", ...prompt(-i) }))).by);
  }
  assert.equal(new Set(users).size, 1);
});

Deno.test("bodies pass as they are, headers of a connection do not, nor does the gateway's key", async () => {
  const answer = () =>
    new Response("{}", {
      headers: {
        "x-of-upstream": "1",
        "set-cookie": "a=b",
        "access-control-allow-origin": "*",
      },
    });
  await using a = new FakeUpstream({ answer });
  await using gateway = before([a], { apiKeys: "mine", upstreamKey: "theirs" });
  const text = '{ "model":"tiny",  "n": 1 }';
  const response = await post(gateway, text, {
    headers: {
      authorization: "Bearer mine",
      "x-api-key": "mine",
      "x-request-id": "id-1",
      "x-more": "2",
      connection: "x-hop",
      "x-hop": "3",
      te: "trailers",
    },
  });
  const [headers] = a.headers;
  assert.deepEqual(a.bodies, [text]);
  assert.equal(headers.get("authorization"), "Bearer theirs");
  assert.equal(headers.get("x-request-id"), "id-1");
  assert.equal(headers.get("x-more"), "2");
  for (const name of ["x-api-key", "x-hop", "te", "cookie"]) {
    assert.equal(headers.get(name), null, name);
  }
  assert.equal(response.headers.get("x-of-upstream"), "1");
  assert.equal(response.headers.get("x-request-id"), "id-1");
  assert.equal(response.headers.get("set-cookie"), null);
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  assert.equal((await post(gateway, text)).status, 401);
  assert.equal(a.bodies.length, 1);
});

Deno.test("what is no request is refused before an upstream sees it", async () => {
  await using a = new FakeUpstream();
  await using gateway = before([a], { bodyLimit: 0.01 });
  const refusals = [["{", 400], ["[]", 400], [
    `{"a":"${"x".repeat(2e4)}"}`,
    413,
  ]];
  for (const [body, status] of refusals) {
    const response = await post(gateway, body);
    assert.equal(response.status, status);
    assert.match((await response.json()).error.message, /^Cannot /);
  }
  assert.deepEqual(a.bodies, []);
});

Deno.test("where an upstream cannot answer another does, and where none can it is said", async () => {
  const full: Answer = () =>
    Response.json({ error: { message: "full" } }, {
      status: 503,
      headers: { "retry-after": "7" },
    });
  const failing: Answer = () => new Response("{}", { status: 500 });
  await using a = new FakeUpstream({ answer: full });
  await using b = new FakeUpstream();
  await using gateway = before([a, b]);
  for (let i = 0; i < 8; i++) {
    assert.equal((await json(post(gateway, prompt(i)))).by, b.port);
  }
  assert.ok(a.bodies.length > 0);
  gateway.setUpstreams([a.url]);
  const refused = await post(gateway);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [
    503,
    "7",
  ]);
  assert.equal((await refused.json()).error.message, "full");
  // Its own errors are passed on: nobody knows what came before them.
  await using c = new FakeUpstream({ answer: failing });
  await using d = new FakeUpstream();
  await d.kill();
  gateway.setUpstreams([c.url, d.url]);
  await until(async () => (await get(gateway, "/health")).status === 200);
  assert.equal((await post(gateway)).status, 500);
  gateway.setUpstreams([d.url]);
  const none = await post(gateway);
  assert.equal(none.status, 503);
  assert.match(
    (await none.json()).error.message,
    /none of \d upstreams? is up/,
  );
  assert.equal((await get(gateway, "/health")).status, 503);
});

Deno.test("upstreams are killed, drained and added under load, and no request fails", async () => {
  const answer: Answer = async () => {
    await delay(3);
    return Response.json({ ok: true });
  };
  const up = Array.from({ length: 3 }, () => new FakeUpstream({ answer }));
  await using gateway = before(up);
  const failures: string[] = [];
  const stop = new AbortController();
  let count = 0;
  const client = async (n: number) => {
    while (!stop.signal.aborted) {
      const response = await post(gateway, prompt(n * 1e6 + count++));
      const text = await response.text();
      if (text !== '{"ok":true}') failures.push(text);
      await delay(0);
    }
  };
  const clients = [0, 1, 2, 3].map(client);
  for (let i = 0; i < 4; i++) {
    const [oldest] = up;
    const before = count;
    // Drained, and then ended once nobody is there.
    const added = new FakeUpstream({ answer });
    up.push(added);
    gateway.setUpstreams(up.slice(1).map(({ url }) => url));
    await until(() => count > before + 30 && added.bodies.length > 0);
    const seen = oldest.bodies.length;
    // Killed, and started anew at its address.
    const [, victim] = up;
    await victim.kill();
    await until(() => count > before + 60);
    up[1] = new FakeUpstream({ answer, port: victim.port });
    await until(() => up[1].bodies.length > 0);
    assert.equal(oldest.bodies.length, seen);
    await oldest.kill();
    up.shift();
  }
  stop.abort();
  await Promise.all(clients);
  assert.deepEqual(failures, []);
  for (const each of up) await each.kill();
});

Deno.test("an upstream that hangs loses what it has not begun to another", async () => {
  await using a = new FakeUpstream();
  let isHanging = true;
  await using b = new FakeUpstream({
    answer: async () => {
      while (isHanging) await delay(5);
      return Response.json({ by: "b" });
    },
  });
  await using gateway = before([b], { healthTimeout: 0.05 });
  const asked = post(gateway);
  await until(() => b.bodies.length > 0);
  gateway.setUpstreams([a.url, b.url]);
  b.health = 500;
  assert.equal((await json(asked)).by, a.port);
  isHanging = false;
});

Deno.test("a stream passes as it comes, no faster than it is read, and ends with its client", async () => {
  let said = 0;
  let hasEnded = false;
  await using a = new FakeUpstream({
    answer: () =>
      eventsOf((async function* () {
        try {
          for (;;) yield `${said++} ${"x".repeat(1 << 16)}`;
        } finally {
          hasEnded = true;
        }
      })()),
  });
  await using gateway = before([a], { metrics: true });
  const response = await post(gateway, { stream: true });
  const reader = response.body!.getReader();
  assert.match(
    new TextDecoder().decode((await reader.read()).value),
    /^data: 0/,
  );
  // Sockets and their like hold some MB.
  let last = -1;
  await until(async () => {
    const before = said;
    await delay(50);
    return (last = said) === before;
  });
  assert.ok(last < 500, `${last} of 64 KiB were written ahead`);
  const running = async () =>
    (await (await get(gateway, "/metrics")).text())
      .match(/^vllm:num_requests_running (.*)$/m)![1];
  assert.equal(await running(), "1");
  await reader.cancel();
  await until(() => hasEnded);
  assert.equal(await running(), "0");
});

Deno.test("a stream that breaks off ends by an error, and is not begun anew", async () => {
  const a = new FakeUpstream({
    answer: () =>
      eventsOf((async function* () {
        yield "1";
        await delay(20);
        throw new Error("gone");
      })()),
  });
  await using b = new FakeUpstream();
  const entries: unknown[] = [];
  await using gateway = before([a], {
    log: ({ error, status }) => entries.push([status, error]),
  });
  await get(gateway, "/health");
  const text = await (await post(gateway, { stream: true })).text();
  assert.match(
    text,
    /^data: 1\n\n\n\ndata: \{"error":\{.*broke off.*\}\}\n\n$/,
  );
  assert.deepEqual(entries.at(-1), [200, "server_error"]);
  assert.deepEqual(b.bodies, []);
  await a.kill();
});

Deno.test("who asks for more than its key may is told when to come back", async () => {
  await using a = new FakeUpstream();
  await using gateway = before([a], {
    apiKeys: ["one", "two"],
    requestsPerMinute: 2,
  });
  const ask = (key: string) =>
    post(gateway, {}, { headers: { authorization: `Bearer ${key}` } });
  const statuses = [];
  for (const key of ["one", "one", "one", "two"]) {
    statuses.push((await ask(key)).status);
  }
  assert.deepEqual(statuses, [200, 200, 429, 200]);
  const late = await ask("one");
  assert.match(late.headers.get("retry-after")!, /^(29|30)$/);
  assert.equal((await late.json()).error.type, "rate_limit_error");
});

Deno.test("a key is one client however it is shown, and so is an address, whatever it shows", async () => {
  await using a = new FakeUpstream();
  const statuses = async (
    options: GatewayOptions,
    shown: readonly HeadersInit[],
  ) => {
    await using gateway = before([a], { requestsPerMinute: 1, ...options });
    const found = [];
    for (const headers of shown) {
      const from = { remoteAddr: { hostname: "10.0.0.1" } };
      found.push((await post(gateway, {}, { headers }, from)).status);
    }
    return found;
  };
  const ways: Record<string, string>[] = [
    { authorization: "Bearer one" },
    { authorization: "bEARER   one" },
    { "x-api-key": "one" },
    { authorization: "Basic abc", "x-api-key": "one" },
  ];
  assert.deepEqual(await statuses({ apiKeys: "one" }, ways), [
    200,
    429,
    429,
    429,
  ]);
  assert.deepEqual(await statuses({}, ways), [200, 429, 429, 429]);
});

Deno.test("an upstream that asks for a key is said to, and is up with it", async () => {
  await using a = new FakeUpstream({ key: "theirs" });
  const said: string[] = [];
  const onChange = (line: string) => void said.push(line);
  for (const upstreamKey of [undefined, "theirs"]) {
    await using gateway = before([a], { onChange, upstreamKey });
    await get(gateway, "/health");
  }
  assert.equal(said.length, 2, said.join("\n"));
  assert.match(
    said[0],
    /is down: \/v1\/models is answered by 401: .*--upstream/,
  );
  assert.match(said[1], /is up: tiny$/);
});

Deno.test("who refused is waited for no more once another fails, and is left out", async () => {
  const refuse = () => new Response("full", { status: 503 });
  await using a = new FakeUpstream({ answer: refuse });
  let isHanging = true;
  await using b = new FakeUpstream({
    answer: async () => {
      while (isHanging) await delay(5);
      return new Response();
    },
  });
  const said: string[] = [];
  await using gateway = before([a, b], {
    timeLimit: 0.1,
    onChange: (line) => said.push(line),
  });
  const isUp = () => gateway.upstreams().filter(({ isUp }) => isUp).length;
  await until(() => isUp() === 2);
  for (let i = 0; a.bodies.length === 0; i++) {
    assert.equal((await post(gateway, prompt(i))).status, 504);
  }
  gateway.setUpstreams([b.url]);
  await until(() => said.includes(`upstream ${a.url} is left out`));
  isHanging = false;
});

Deno.test("a gateway that is closed while it looks at upstreams does not wait for the next look", async () => {
  await using a = new FakeUpstream();
  const gateway = before([a], { healthInterval: 10 });
  const start = performance.now();
  await gateway[Symbol.asyncDispose]();
  assert.ok(performance.now() - start < 5000);
});

Deno.test("of a model's name that is too long a part is logged", async () => {
  await using a = new FakeUpstream();
  const logged: unknown[] = [];
  await using gateway = before([a], {
    apiKeys: "key",
    requestsPerMinute: 1,
    log: ({ model }) => logged.push(model),
  });
  const headers = { authorization: "Bearer key" };
  for (const status of [200, 429]) {
    const model = "m".repeat(1e5);
    const response = await post(gateway, { model }, { headers });
    assert.equal(response.status, status);
    await response.text();
  }
  assert.deepEqual(logged, Array(2).fill("m".repeat(512)));
});

Deno.test("what takes too long is given up, and a gateway that stops says so", async () => {
  let isHanging = true;
  const answer: Answer = async () => {
    while (isHanging) await delay(5);
    return new Response();
  };
  await using a = new FakeUpstream({ answer });
  await using gateway = before([a], { timeLimit: 0.1 });
  assert.equal((await post(gateway)).status, 504);
  const hanging = post(gateway);
  await until(() => a.bodies.length === 2);
  const stopping = gateway.stop(20);
  assert.equal((await get(gateway, "/health")).status, 503);
  assert.equal((await post(gateway)).status, 503);
  assert.equal((await hanging).status, 503);
  await stopping;
  isHanging = false;
});

Deno.test("requests of others, which an upstream tells of, count as well", async () => {
  const metrics = (running: number) =>
    `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="tiny",engine="0"} ${running}
vllm:num_requests_waiting{model_name="tiny",engine="0"} 3
vllm:kv_cache_usage_perc{model_name="tiny"} 0.5
`;
  await using a = new FakeUpstream({ metrics: metrics(20) });
  await using b = new FakeUpstream({ metrics: metrics(0) });
  await using gateway = before([a, b], { metrics: true });
  await until(async () => {
    const text = await (await get(gateway, "/metrics")).text();
    return text.includes("vllm:num_requests_waiting 6\n") &&
      text.includes("vllm:kv_cache_usage_perc 0.5\n") &&
      text.includes(`culm:gateway_upstream_load{upstream="${a.url}"} 23\n`);
  });
  for (let i = 0; i < 5; i++) await json(post(gateway, prompt(i)));
  assert.equal(b.bodies.length, 5);
});

Deno.test("openai's client through a gateway: a chat, whole and streamed, models, errors", async () => {
  await using tiny = await tinyServer({ aliases: ["tiny"] });
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    tiny.server.fetch,
  );
  const url = `http://127.0.0.1:${http.addr.port}`;
  await using gateway = before([{ url }]);
  const client = new OpenAI({
    apiKey: "none",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: (url, init) => gateway.fetch(new Request(url, init)),
  });
  const asked = {
    model: "any",
    messages: [{ role: "user" as const, content: "Tell me a story." }],
    temperature: 0,
    max_completion_tokens: 12,
  };
  const whole = await client.chat.completions.create(asked);
  let streamed = "";
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
  });
  for await (const { choices: [choice] } of stream) {
    streamed += choice?.delta.content ?? "";
  }
  assert.equal(streamed, whole.choices[0].message.content);
  assert.notEqual(streamed, "");
  const names = [];
  for await (const { id } of client.models.list()) names.push(id);
  assert.deepEqual(names, ["tiny"]);
  await assert.rejects(
    client.chat.completions.create({ ...asked, temperature: "hot" as never }),
    OpenAI.BadRequestError,
  );
  const long = await client.chat.completions.create({
    ...asked,
    max_completion_tokens: 400,
    stream: true,
  });
  for await (const _ of long) break;
  await until(() => tiny.model.engine.stats().tokens > 0);
  await tiny.server.stop();
  assert.ok(tiny.model.engine.stats().tokens < 300);
});
