import assert from "node:assert/strict";
import { type LanguageModel, load } from "../../mod.ts";
import {
  type Catalogue,
  createServer,
  type CulmServer,
  type ServerOptions,
} from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** A server of these models, and which of them are open. */
function catalogue(
  names: readonly string[],
  options: ServerOptions = {},
  bytes?: number,
) {
  const open = new Set<string>();
  let loads = 0;
  const loadAs = async (name: string): Promise<LanguageModel> => {
    loads++;
    if (name === "broken") throw new Error("no file");
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
    names.map((name) => [name, { load: () => loadAs(name), bytes }]),
  );
  const server = createServer(entries, options);
  return { server, open, loads: () => loads };
}

function post(server: CulmServer, path: string, body: unknown) {
  return server.fetch(
    new Request(`http://localhost${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    }),
  );
}

const ask = (server: CulmServer, model?: string, more = {}) =>
  post(server, "/v1/completions", {
    model,
    prompt: "Tom had a",
    max_tokens: 2,
    ...more,
  });

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
  const { server, loads } = catalogue(["a", "broken"]);
  await using _ = server;
  const response = await ask(server, "c");
  assert.equal(response.status, 404);
  assert.equal((await response.json()).error.code, "model_not_found");
  for (const count of [1, 2]) {
    const failed = await ask(server, "broken");
    assert.equal(failed.status, 500);
    assert.match((await failed.json()).error.message, /could not be loaded/);
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
  assert.equal((await third).status, 200);
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
