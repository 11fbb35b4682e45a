/** `/v1/files` and `/v1/batches`, by OpenAI's client. */
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";
import { type TinyServer, tinyServer } from "../tiny_server.ts";

/** OpenAI's client of a key. */
function clientOf({ server }: TinyServer, apiKey = "any"): OpenAI {
  return new OpenAI({
    apiKey,
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: (url: string | URL | Request, init?: RequestInit) =>
      server.fetch(new Request(url, init)),
  });
}

const endpoint = "/v1/completions", completion_window = "24h";

function requests(count: number, max_tokens: unknown = 4): string {
  return Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      custom_id: `${i}`,
      method: "POST",
      url: endpoint,
      body: { prompt: `Tom had ${i}`, max_tokens },
    })).join("\n");
}

async function send(client: OpenAI, text: string) {
  const file = await toFile(new TextEncoder().encode(text), "in.jsonl");
  return await client.files.create({ file, purpose: "batch" });
}

async function start(client: OpenAI, input_file_id: string) {
  return await client.batches.create({
    input_file_id,
    endpoint,
    completion_window,
    metadata: { topic: "Tom" },
  });
}

/** A batch when it has ended. */
async function ended(client: OpenAI, id: string) {
  for (;;) {
    const batch = await client.batches.retrieve(id);
    if (!/progress|cancelling/.test(batch.status)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function linesOf(client: OpenAI, id: string | undefined) {
  const text = await (await client.files.content(id!)).text();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("a batch is answered beside others, and what is refused has a file of its own", async () => {
  await using tiny = await tinyServer();
  const client = clientOf(tiny);
  const text = requests(6) +
    `\n${requests(1, "many").replace('"0"', '"wrong"')}`;
  const file = await send(client, text);
  assert.deepEqual(
    [file.object, file.filename, file.bytes, file.purpose],
    ["file", "in.jsonl", text.length, "batch"],
  );
  const begun = await start(client, file.id);
  assert.equal(begun.status, "in_progress");
  const batch = await ended(client, begun.id);
  assert.equal(batch.status, "completed");
  assert.deepEqual(batch.metadata, { topic: "Tom" });
  assert.deepEqual(batch.request_counts, { total: 7, completed: 6, failed: 1 });

  const results = await linesOf(client, batch.output_file_id);
  assert.deepEqual(results.map(({ custom_id }) => custom_id).sort(), [
    ..."012345",
  ]);
  for (const { response } of results) {
    assert.equal(response.status_code, 200);
    assert.equal(response.body.usage.completion_tokens, 4);
  }
  const [wrong] = await linesOf(client, batch.error_file_id);
  assert.equal(wrong.custom_id, "wrong");
  assert.equal(wrong.response.body.error.param, "max_tokens");

  const files = await Array.fromAsync(client.files.list());
  assert.equal(files.length, 3);
  const [listed] = await Array.fromAsync(client.batches.list());
  assert.deepEqual(listed, batch);
  for (const { id } of files) await client.files.delete(id);
  assert.deepEqual(await Array.fromAsync(client.files.list()), []);
});

Deno.test("a batch that is cancelled keeps what was answered, and the server goes on", async () => {
  await using tiny = await tinyServer({ parallel: 2 });
  const client = clientOf(tiny);
  const { id } = await start(client, (await send(client, requests(500))).id);
  while ((await client.batches.retrieve(id)).request_counts!.completed < 2) {
    await client.completions.create({
      model: "x",
      prompt: "Tom",
      max_tokens: 1,
    });
  }
  await client.batches.cancel(id);
  const batch = await ended(client, id);
  assert.equal(batch.status, "cancelled");
  const { completed } = batch.request_counts!;
  assert.ok(completed >= 2 && completed < 500);
  const results = await linesOf(client, batch.output_file_id);
  assert.equal(results.length, completed);
  assert.equal((await client.batches.cancel(id)).status, "cancelled");
});

Deno.test("files and batches are their owner's, and bounded", async () => {
  const keys = ["mine", "yours"];
  await using tiny = await tinyServer({ apiKeys: keys, filesLimit: 0.001 });
  const [mine, yours] = keys.map((key) => clientOf(tiny, key));
  const file = await send(mine, requests(1));
  const batch = await start(mine, file.id);
  await ended(mine, batch.id);
  const refused: [() => Promise<unknown>, number, RegExp][] = [
    [() => yours.files.retrieve(file.id), 404, /no file/],
    [() => yours.files.delete(file.id), 404, /no file/],
    [() => yours.batches.retrieve(batch.id), 404, /no batch/],
    [() => yours.batches.cancel(batch.id), 404, /no batch/],
    [() => start(yours, file.id), 404, /no file/],
    [() => start(mine, "file-0"), 404, /no file/],
    [() => send(mine, requests(20)), 413, /the limit is 1048/],
  ];
  for (const [request, status, message] of refused) {
    await assert.rejects(
      request,
      (error: InstanceType<typeof OpenAI.APIError>) => {
        assert.match(error.message, message);
        return error.status === status;
      },
    );
  }
  assert.deepEqual(await Array.fromAsync(yours.files.list()), []);
  assert.deepEqual(await Array.fromAsync(yours.batches.list()), []);
});

Deno.test("what is no file of requests is refused, or fails as a batch", async () => {
  await using tiny = await tinyServer();
  const client = clientOf(tiny);
  const form = (entries: Record<string, string>) => {
    const body = new FormData();
    for (const each of Object.entries(entries)) body.append(...each);
    return tiny.server.fetch(
      new Request("http://localhost/v1/files", { method: "POST", body }),
    );
  };
  const wrong = [
    await tiny.post("/v1/files", {}),
    await form({ purpose: "batch" }),
    await form({ file: "{}" }),
    await form({ file: "{}", purpose: "fine-tune" }),
  ];
  for (const response of wrong) {
    assert.equal(response.status, 400);
    assert.match((await response.json()).error.message, /^Cannot /);
  }
  const { id } = await send(client, "{}");
  const bodies = [
    { endpoint, completion_window },
    { input_file_id: id, completion_window },
    { input_file_id: id, endpoint: "/v1/models", completion_window },
    { input_file_id: id, endpoint, completion_window: "1h" },
  ];
  for (const body of bodies) {
    const response = await tiny.post("/v1/batches", body);
    assert.equal(response.status, 400);
    await response.body?.cancel();
  }
  const texts = ["{}", requests(1).replace(endpoint, "/v1/embeddings"), "\xff"];
  for (const text of texts) {
    const file = await send(client, text);
    const batch = await ended(client, (await start(client, file.id)).id);
    assert.equal(batch.status, "failed");
    assert.match(batch.errors!.data![0].message!, /line 1 of the batch/);
  }
});
