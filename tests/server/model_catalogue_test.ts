import assert from "node:assert/strict";
import { type LanguageModel, load } from "../../mod.ts";
import {
  type Catalogue,
  createServer,
  type CulmServer,
  type ServerOptions,
} from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/**
 * A server of these models, and which of them are open. Of a "broken" one the header
 * says that it cannot be loaded, of a "torn" one its weights.
 */
function catalogue(
  names: readonly string[],
  options: ServerOptions = {},
  bytes?: number,
) {
  const open = new Set<string>();
  let loads = 0, held: PromiseWithResolvers<void> | undefined;
  const loadAs = async (name: string): Promise<LanguageModel> => {
    loads++;
    await held?.promise;
    if (name === "torn") throw new Error("no weights");
    const model = await load(tinyBamboo(), { threads: 0 });
    open.add(name);
    const dispose = model[Symbol.asyncDispose].bind(model);
    model[Symbol.asyncDispose] = async () => {
      open.delete(name);
      await dispose();
    };
    return model;
  };
  const entries: Catalogue = Object.fromEntries(
    names.map((name) => [name, {
      check: () =>
        name === "broken"
          ? Promise.reject(new Error("no header"))
          : Promise.resolve(),
      load: () => loadAs(name),
      bytes,
    }]),
  );
  const server = createServer(entries, options);
  return {
    server,
    open,
    loads: () => loads,
    /** Lets no model be loaded until what it gives is called. */
    hold: () => {
      held = Promise.withResolvers();
      return held.resolve;
    },
  };
}

function post(
  server: CulmServer,
  path: string,
  body: unknown,
  signal?: AbortSignal,
) {
  return server.fetch(
    new Request(`http://localhost${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      signal,
    }),
  );
}

const ask = (
  server: CulmServer,
  model?: string,
  more = {},
  signal?: AbortSignal,
) =>
  post(
    server,
    "/v1/completions",
    { model, prompt: "Tom had a", max_tokens: 2, ...more },
    signal,
  );

/** Which model answers. */
async function modelOf(asked: Promise<Response>): Promise<string> {
  return (await (await asked).json()).model;
}

/** Lets what is settled go on. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

async function statusOf(server: CulmServer): Promise<Record<string, string>> {
  const response = await server.fetch(new Request("http://localhost/models"));
  const { data } = await response.json();
  return Object.fromEntries(
    data.map((each: { id: string; status: { value: string } }) => [
      each.id,
      each.status.value,
    ]),
  );
}

Deno.test("a model is loaded once when it is asked for by its name, which requests wait for", async () => {
  const { server, open, loads } = catalogue(["a", "b"]);
  assert.deepEqual(await statusOf(server), { a: "unloaded", b: "unloaded" });
  const asked = [ask(server, "b"), ask(server, "b")];
  while ((await statusOf(server)).b === "unloaded") await undefined;
  assert.equal((await statusOf(server)).b, "loading");
  for (const response of await Promise.all(asked)) {
    assert.equal((await response.json()).model, "b");
  }
  assert.deepEqual(await statusOf(server), { a: "unloaded", b: "loaded" });
  assert.equal(loads(), 1);
  // Who names none has what was used last.
  assert.equal((await (await ask(server)).json()).model, "b");
  await server[Symbol.asyncDispose]();
  assert.equal(open.size, 0);
});

Deno.test("a name that no model has is a 404, and one that fails says so and is tried again", async () => {
  const { server, loads } = catalogue(["a", "torn"]);
  await using _ = server;
  const response = await ask(server, "c");
  assert.equal(response.status, 404);
  assert.equal((await response.json()).error.code, "model_not_found");
  for (const count of [1, 2]) {
    const failed = await ask(server, "torn");
    assert.equal(failed.status, 500);
    const { error } = await failed.json();
    assert.match(error.message, /could not be loaded/);
    assert.equal(error.code, "model_load_failed");
    assert.equal(loads(), count);
  }
  const listed = await server.fetch(new Request("http://localhost/v1/models"));
  const { data } = await listed.json();
  assert.deepEqual(data[1].status, { value: "unloaded", failed: true });
  assert.equal((await ask(server, "a")).status, 200);
});

Deno.test("what was used longest ago makes room, and never what a request needs", async () => {
  const { server, open } = catalogue(["a", "b", "c"], { modelsMax: 2 });
  await using _ = server;
  for (const name of ["a", "b", "a", "c"]) {
    await (await ask(server, name)).body!.cancel();
  }
  assert.deepEqual([...open], ["a", "c"]);
  // Both are needed by texts: who wants the third waits until one has ended.
  const long = { stream: true, max_tokens: 60, ignore_eos: true };
  const texts = await Promise.all([
    ask(server, "a", long),
    ask(server, "c", long),
  ]);
  let isAnswered = false;
  const third = ask(server, "b").then((response) => {
    isAnswered = true;
    return response;
  });
  assert.deepEqual([...open], ["a", "c"]);
  assert.equal(isAnswered, false);
  const ends = await Promise.all(texts.map((text) => text.text()));
  for (const text of ends) assert.match(text, /\[DONE\]/);
  assert.equal((await (await third).json()).model, "b");
  assert(open.has("b") && open.size === 2);
});

Deno.test("models have so much memory together", async () => {
  const { server, open } = catalogue(
    ["a", "b"],
    { modelsMemory: 0.015 },
    10 * 2 ** 20,
  );
  await using _ = server;
  for (const name of ["a", "b"]) {
    assert.equal((await ask(server, name)).status, 200);
  }
  assert.deepEqual([...open], ["b"]);
  const large = catalogue(["a"], { modelsMemory: 0.015 }, 2 ** 30);
  await using __ = large.server;
  const refused = await ask(large.server, "a");
  assert.equal(refused.status, 503);
  assert.match((await refused.json()).error.message, /takes 1\.0 GiB/);
});

Deno.test("a model that nobody asks for is unloaded, and loaded and unloaded as it is told", async () => {
  const { server, open } = catalogue(["a"], { sleepIdleSeconds: 0.05 });
  await using _ = server;
  const load = await post(server, "/models/load", { model: "a" });
  assert.deepEqual(await load.json(), { success: true });
  assert.equal(open.size, 1);
  while (open.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(await statusOf(server), { a: "unloaded" });
  await (await post(server, "/models/load", { model: "a" })).json();
  const unload = await post(server, "/models/unload", { model: "a" });
  assert.deepEqual(await unload.json(), { success: true });
  assert.equal(open.size, 0);
});

Deno.test("a model that cannot be loaded changes nothing for others", async () => {
  const { server, open, loads } = catalogue(["broken", "a", "torn"], {
    modelsMax: 1,
  });
  await using _ = server;
  // Who names none is not told of the first, which nobody has asked for.
  assert.equal(await modelOf(ask(server)), "a");
  assert.equal((await ask(server, "broken")).status, 500);
  assert.deepEqual([...open], ["a"]);
  assert.equal(await modelOf(ask(server)), "a");
  assert.equal(loads(), 1);
  // The header said nothing of this one.
  assert.equal((await ask(server, "torn")).status, 500);
  assert.equal(await modelOf(ask(server)), "a");
  assert.deepEqual([...open], ["a"]);
});

Deno.test("where no model can be loaded, who names none is told so", async () => {
  const { server } = catalogue(["broken", "torn"]);
  await using _ = server;
  for (let i = 0; i < 2; i++) assert.equal((await ask(server)).status, 500);
});

Deno.test("requests for one model do not keep another out for ever", async () => {
  const { server } = catalogue(["a", "b"], { modelsMax: 1 });
  await using _ = server;
  const begin = () =>
    ask(server, "a", { stream: true, max_tokens: 100, ignore_eos: true });
  let isServed = false;
  const goOn = async (first: Response) => {
    let asked = 1;
    // The next begins before the last has ended.
    for (let text = first; !isServed && asked < 10; asked++) {
      const next = await begin();
      await text.text();
      text = next;
    }
    return asked;
  };
  const first = await begin();
  const served = modelOf(ask(server, "b"));
  served.then(() => isServed = true);
  const asked = await goOn(first);
  assert.equal(await served, "b");
  assert.ok(asked < 5, `${asked} requests came before it`);
});

Deno.test("requests that wait for a model count among those that wait", async () => {
  const { server, hold } = catalogue(["a"], { parallel: 1, queueLimit: 1 });
  await using _ = server;
  const release = hold();
  const asked = [ask(server, "a"), post(server, "/tokenize", { content: "x" })];
  await turn();
  for (const path of ["/v1/completions", "/tokenize", "/models/load"]) {
    const refused = await post(server, path, { model: "a", prompt: "x" });
    assert.equal(refused.status, 503, path);
    assert.ok(Number(refused.headers.get("retry-after")) >= 1, path);
  }
  release();
  for (const each of asked) assert.equal((await each).status, 200);
});

Deno.test("who goes away waits for no model any more, and none is unloaded for its sake", async () => {
  const { server, open, loads } = catalogue(["a", "b"], { modelsMax: 1 });
  await using _ = server;
  const text = await ask(server, "a", {
    stream: true,
    max_tokens: 100,
    ignore_eos: true,
  });
  const client = new AbortController();
  const given = ask(server, "b", {}, client.signal);
  await turn();
  // It waits behind the other, which is to go.
  const behind = ask(server, "a");
  await turn();
  client.abort();
  assert.equal((await given).status, 499);
  assert.equal(await modelOf(behind), "a");
  await text.text();
  assert.deepEqual([...open], ["a"]);
  assert.equal(loads(), 1);
});

Deno.test("an answer that waits long for its model shows that it lives, and learns that its client has gone", async () => {
  const { server, hold } = catalogue(["a"], { pingInterval: 0.02 });
  await using _ = server;
  const release = hold();
  const late = await ask(server, "a");
  const stream = await ask(server, "a", { stream: true });
  const gone = await ask(server, "a", { stream: true });
  const readers = [late, stream].map(({ body }) =>
    body!.pipeThrough(new TextDecoderStream()).getReader()
  );
  const signs = await Promise.all(readers.map((reader) => reader.read()));
  assert.deepEqual(signs.map(({ value }) => value), [" ", ": ping\n\n"]);
  await gone.body!.cancel();
  release();
  const [json, events] = await Promise.all(readers.map(async (reader) => {
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text;
      text += value;
    }
  }));
  assert.match(json, /^ *\{.*"model":"a"/);
  assert.match(events, /data: \[DONE\]\n\n$/);
});

Deno.test("an error that comes late is an event of the stream", async () => {
  const { server, hold } = catalogue(["torn"], { pingInterval: 0.02 });
  await using _ = server;
  const release = hold();
  const openai = await ask(server, "torn", { stream: true });
  const anthropic = await post(server, "/v1/messages", {
    model: "torn",
    max_tokens: 1,
    messages: [{ role: "user", content: "Hi" }],
    stream: true,
  });
  release();
  const told = await openai.text();
  assert.match(told, /^(: ping\n\n)*data: \{"error":.*could not be loaded/);
  const named = await anthropic.text();
  assert.match(named, /event: error\ndata: \{"type":"error".*could not/);
});

Deno.test("unloading says so where there is nothing to unload", async () => {
  const { server } = catalogue(["a", "b"]);
  await using _ = server;
  const unload = async (model: string) => {
    const response = await post(server, "/models/unload", { model });
    const { error } = await response.json();
    return [response.status, error?.message];
  };
  assert.deepEqual(await unload("a"), [
    400,
    'Cannot unload "a": it is not loaded',
  ]);
  const text = await ask(server, "b", { stream: true });
  assert.deepEqual(await unload("b"), [
    409,
    'Cannot unload "b": 1 requests need it',
  ]);
  await text.text();
  assert.deepEqual(await unload("b"), [200, undefined]);
});

Deno.test("who watches a model keeps it from nothing, and has none loaded", async () => {
  const { server, open } = catalogue(["a", "b"], { modelsMax: 1 });
  await using _ = server;
  const watch = () =>
    server.fetch(new Request("http://localhost/v1/neurons?model=a"));
  const early = await watch();
  assert.equal(early.status, 503);
  assert.equal(early.headers.get("retry-after"), "1");
  assert.equal(open.size, 0);
  await (await ask(server, "a")).json();
  const watching = await watch();
  assert.equal(await modelOf(ask(server, "b")), "b");
  await watching.text();
});

Deno.test("what is counted never falls, whatever is unloaded", async () => {
  const { server } = catalogue(["a", "b"], { modelsMax: 1, metrics: true });
  await using _ = server;
  /** The values of all counters, by name. */
  const counters = async () => {
    const metrics = new Request("http://localhost/metrics");
    const text = await (await server.fetch(metrics)).text();
    return new Map(
      [...text.matchAll(/^# TYPE (\S+) counter\n\S+ (\S+)$/gm)]
        .map(([, name, value]) => [name, Number(value)]),
    );
  };
  let before = await counters();
  assert.ok(before.size > 15);
  for (const model of ["a", "b", "a"]) {
    await (await ask(server, model)).json();
    const now = await counters();
    for (const [name, value] of now) {
      assert.ok(value >= before.get(name)!, `${name} falls to ${value}`);
    }
    const tokens = "culm:tokens_evaluated_total";
    assert.ok(now.get(tokens)! > before.get(tokens)!);
    before = now;
  }
});
