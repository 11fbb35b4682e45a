import assert from "node:assert/strict";
import { type LanguageModel, load } from "../../mod.ts";
import { createServer } from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { eventsOf, tinyServer } from "./tiny_server.ts";

const long = "Tom had a red ball. ".repeat(70);
/** An answer that takes a while. */
const endless = { prompt: "Tom", ignore_eos: true, max_tokens: 400 };

Deno.test("a server whose model is being loaded says so", async () => {
  const { promise, resolve } = Promise.withResolvers<LanguageModel>();
  await using server = createServer(promise);
  const get = (path: string) =>
    server.fetch(new Request(`http://localhost${path}`));
  for (const path of ["/health", "/v1/models"]) {
    const response = await get(path);
    assert.equal(response.status, 503);
    assert.deepEqual((await response.json()).error, {
      code: 503,
      message: "Loading model",
      type: "unavailable_error",
      param: null,
    });
  }
  await using model = await load(tinyBamboo(), { threads: 0 });
  resolve(model);
  await promise;
  assert.deepEqual(await (await get("/health")).json(), { status: "ok" });
  const failed = createServer(Promise.reject(new Error("no such file")));
  await undefined;
  const response = await failed.fetch(new Request("http://localhost/health"));
  assert.match((await response.json()).error.message, /could not be loaded/);
});

Deno.test("a model is listed by its own name or its alias, and asked for by any", async () => {
  await using tiny = await tinyServer();
  const { data: [card] } = await (await tiny.get("/v1/models")).json();
  assert.equal(card.id, tiny.model.model.name);
  assert.equal(card.meta.n_ctx, tiny.model.engine.contextSize);
  const path = `/v1/models/${encodeURIComponent(card.id)}`;
  assert.deepEqual(await (await tiny.get(path)).json(), card);
  const other = await tiny.get("/v1/models/other");
  assert.equal(other.status, 404);
  assert.equal((await other.json()).error.type, "not_found_error");
  const body = { prompt: "Tom", max_tokens: 1, model: "gpt-4o" };
  const response = await tiny.post("/v1/completions", body);
  assert.equal((await response.json()).model, card.id);
});

Deno.test("a model of several names is listed by the first, and found by each", async () => {
  const aliases = ["first", "second"];
  await using tiny = await tinyServer({ aliases });
  const { data } = await (await tiny.get("/v1/models")).json();
  assert.equal(data.length, 1);
  assert.equal(data[0].id, "first");
  assert.deepEqual(data[0].aliases, aliases);
  for (const name of aliases) {
    const card = await (await tiny.get(`/v1/models/${name}`)).json();
    assert.deepEqual(card, data[0]);
  }
});

Deno.test("a stream that has nothing to say yet shows that it lives", async () => {
  await using tiny = await tinyServer({ pingInterval: 0.001 });
  const response = await tiny.post("/v1/completions", {
    prompt: long,
    max_tokens: 2,
    stream: true,
  });
  const text = await response.text();
  assert.match(text, /^(: ping\n\n)+data: /);
  assert.match(text, /data: \[DONE\]\n\n(: ping\n\n)*$/);
});

Deno.test("a client that goes away stops its work, in the prompt too", async (t) => {
  await using tiny = await tinyServer();
  const { engine } = tiny.model;
  const prompt = tiny.model.tokenize(long);
  assert.ok(prompt.length > 3 * engine.batchSize);
  const tokensOf = async (work: () => Promise<void>) => {
    const before = engine.stats().tokens;
    await work();
    // Whatever goes on would go on meanwhile.
    await tiny.post("/v1/completions", { prompt: [1], max_tokens: 30 });
    return engine.stats().tokens - before - 30;
  };
  await t.step("a stream", async () => {
    const body = { prompt, max_tokens: 100, stream: true };
    const tokens = await tokensOf(async () => {
      const response = await tiny.post("/v1/completions", body);
      await response.body!.cancel();
    });
    assert.ok(tokens <= 2 * engine.batchSize, `${tokens} tokens`);
  });
  await t.step("an answer as a whole", async () => {
    const gone = new AbortController();
    const tokens = await tokensOf(async () => {
      const { signal } = gone;
      const body = { prompt, max_tokens: 100, n: 2 };
      const answer = tiny.post("/v1/completions", body, { signal });
      await new Promise((resolve) => setTimeout(resolve, 0));
      gone.abort();
      assert.equal((await answer).status, 499);
    });
    assert.ok(tokens <= 2 * engine.batchSize, `${tokens} tokens`);
  });
  await t.step("an answer as a whole that is late", async () => {
    await using patient = await tinyServer({ pingInterval: 0.001 });
    const { engine } = patient.model;
    const body = { ...endless, prompt, n: 2 };
    const response = await patient.post("/v1/completions", body);
    await response.body!.cancel();
    await patient.server.stop();
    const { tokens } = engine.stats();
    assert.ok(tokens <= 3 * engine.batchSize, `${tokens} tokens`);
  });
  await t.step("in the midst of an answer", async () => {
    const tokens = await tokensOf(async () => {
      const body = { ...endless, n: 2, stream: true };
      const response = await tiny.post("/v1/completions", body);
      const reader = response.body!.getReader();
      for (let i = 0; i < 4; i++) await reader.read();
      await reader.cancel();
    });
    assert.ok(tokens < 100, `${tokens} tokens`);
  });
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("a server is what Deno.serve takes, and clients that go away stop their work", async () => {
  await using tiny = await tinyServer({ pingInterval: 0.01 });
  await using http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    tiny.server.fetch,
  );
  const url = `http://127.0.0.1:${http.addr.port}/v1/completions`;
  for (const stream of [true, false]) {
    const gone = new AbortController();
    const body = JSON.stringify({
      ...endless,
      n: 20,
      stream,
      user: "x".repeat(20_000),
    });
    const { signal } = gone;
    const response = await fetch(url, { method: "POST", body, signal });
    await response.body!.getReader().read();
    gone.abort();
  }
  // Else it would wait for forty texts.
  await tiny.server.stop();
  const { tokens } = tiny.model.engine.stats();
  assert.ok(tokens < 4000, `${tokens} tokens`);
});

Deno.test("an answer that takes too long is given up, with an error in its stream", async () => {
  await using tiny = await tinyServer({ timeLimit: 0.05 });
  const whole = await tiny.post("/v1/completions", endless);
  assert.equal(whole.status, 504);
  const { error } = await whole.json();
  assert.equal(error.type, "timeout_error");
  assert.match(error.message, /more than 0\.05 seconds/);
  const stream = await tiny.post("/v1/completions", {
    ...endless,
    stream: true,
  });
  const events = await eventsOf(stream);
  assert.equal(JSON.parse(events.at(-1)!).error.code, 504);
});

Deno.test("an answer that is late begins with blanks, and is broken off where it fails", async () => {
  const pingInterval = 0.001;
  await using tiny = await tinyServer({ pingInterval });
  const body = { prompt: long, max_tokens: 2 };
  const text = await (await tiny.post("/v1/completions", body)).text();
  assert.match(text, /^ +\{"id":/);
  assert.equal(JSON.parse(text).usage.completion_tokens, 2);
  await using hasty = await tinyServer({ pingInterval, timeLimit: 0.1 });
  const failing = await hasty.post("/v1/completions", { ...endless, n: 4 });
  assert.equal(failing.status, 200);
  let said = "";
  await assert.rejects(async () => {
    for await (
      const part of failing.body!.pipeThrough(new TextDecoderStream())
    ) said += part;
  }, /more than 0\.1 seconds/);
  assert.equal(JSON.parse(said).error.type, "timeout_error");
});

Deno.test("a server has limits of its own", async (t) => {
  await using tiny = await tinyServer({
    bodyLimit: 0.001,
    maxTokens: 3,
    parallel: 1,
    queueLimit: 0,
  });
  await t.step("a body that is announced as too long", async () => {
    const response = await tiny.post("/v1/completions", { prompt: long });
    assert.equal(response.status, 413);
    const { error } = await response.json();
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /it has \d+ bytes or more, the limit is 1048$/);
  });
  await t.step("one that turns out to be", async () => {
    const body = new Blob([JSON.stringify({ prompt: long })]).stream();
    const response = await tiny.post("/v1/completions", "", { body });
    assert.equal(response.status, 413);
  });
  await t.step("one that is no UTF-8", async () => {
    const body = new Uint8Array([0x22, 0xff, 0x22]);
    const response = await tiny.post("/v1/completions", "", { body });
    const { error } = await response.json();
    assert.match(error.message, /not UTF-8/);
  });
  await t.step("tokens", async () => {
    const response = await tiny.post("/v1/completions", endless);
    const { choices, usage } = await response.json();
    assert.equal(usage.completion_tokens, 3);
    assert.equal(choices[0].finish_reason, "length");
  });
  await t.step("requests that wait", async () => {
    const body = { prompt: "Tom" };
    const [first, second] = await Promise.all([
      tiny.post("/v1/completions", body),
      tiny.post("/v1/completions", body),
    ]);
    assert.equal(second.status, 503);
    assert.match(second.headers.get("retry-after")!, /^\d+$/);
    assert.equal((await second.json()).error.type, "unavailable_error");
    assert.equal(first.status, 200);
  });
});

Deno.test("the same request gives the same answer whatever else runs", async () => {
  await using tiny = await tinyServer();
  const bodies = Array.from({ length: 12 }, (_, i) => ({
    prompt: `${"Tom had a ball. ".repeat(i % 4)}Lily ${"went ".repeat(i)}`,
    seed: i,
    max_tokens: 10,
  }));
  const textOf = async (body: object) => {
    const response = await tiny.post("/v1/completions", body);
    return (await response.json()).choices[0].text;
  };
  const alone = [];
  for (const body of bodies) alone.push(await textOf(body));
  assert.deepEqual(await Promise.all(bodies.map(textOf)), alone);
});

Deno.test("a server that is stopped lets answers end, as long as it may wait", async (t) => {
  await t.step("long enough", async () => {
    await using tiny = await tinyServer();
    const body = { ...endless, max_tokens: 20, stream: true };
    const response = await tiny.post("/v1/completions", body);
    const events = eventsOf(response);
    await tiny.server.stop();
    assert.equal((await events).at(-1), "[DONE]");
    const late = await tiny.post("/v1/completions", body);
    assert.equal(late.status, 503);
    assert.match((await late.json()).error.message, /stopping/);
  });
  await t.step("not at all", async () => {
    await using tiny = await tinyServer();
    const body = { ...endless, stream: true };
    const response = await tiny.post("/v1/completions", body);
    const events = eventsOf(response);
    await tiny.server.stop(0);
    assert.equal(JSON.parse((await events).at(-1)!).error.code, 503);
    assert.equal(tiny.model.engine.pagesTaken, 0);
  });
});

Deno.test("what is no request's fault is a 500, and told to whoever serves", async () => {
  const told: unknown[] = [];
  const model = await load(tinyBamboo(), { threads: 0 });
  await using server = createServer(model, {
    onError: (error) => told.push(error),
  });
  await model[Symbol.asyncDispose]();
  const response = await server.fetch(
    new Request("http://localhost/v1/completions", {
      method: "POST",
      body: JSON.stringify({ prompt: "Tom" }),
    }),
  );
  assert.equal(response.status, 500);
  assert.equal((await response.json()).error.type, "server_error");
  assert.equal(told.length, 1);
});

Deno.test("wrong options of a server are refused by name", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  for (
    const options of [
      { parallel: 0 },
      { pingInterval: 0 },
      { sampling: { temperature: "hot" } },
      { ports: 1 },
    ]
  ) {
    assert.throws(
      () => createServer(model, options as object),
      /Cannot use (parallel|pingInterval|temperature|ports)/,
    );
  }
});
