import assert from "node:assert/strict";
import { tinyServer } from "./tiny_server.ts";
import type { RequestEntry, ServerOptions } from "../../server.ts";

/** A server whose log is a list. */
async function logged(options: ServerOptions = {}) {
  const log: RequestEntry[] = [];
  const tiny = await tinyServer({
    ...options,
    log: (entry) => log.push(entry),
  });
  return {
    tiny,
    log,
    [Symbol.asyncDispose]: () => tiny[Symbol.asyncDispose](),
  };
}

const story = { prompt: "Tom had a", max_tokens: 8, ignore_eos: true };

/** Lets what is settled go on. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("what a request took is logged as its answer says it", async () => {
  await using served = await logged();
  const { tiny, log } = served;
  const answer = await (await tiny.post("/v1/completions", story)).json();
  await (await tiny.post("/v1/completions", { ...story, stream: true })).text();
  await (await tiny.post("/v1/completions", {
    ...story,
    prompt: ["Tom had a", "Lily"],
    n: 3,
  })).json();
  await (await tiny.post("/v1/embeddings", { input: ["Tom", "Lily"] })).json();
  const [whole, streamed, several, embedded] = log;
  assert.equal(log.length, 4);
  const { usage } = answer;
  for (const entry of [whole, streamed]) {
    const { model, method, path, status, aborted, error } = entry;
    assert.deepEqual({ model, method, path, status, aborted, error }, {
      model: answer.model,
      method: "POST",
      path: "/v1/completions",
      status: 200,
      aborted: false,
      error: undefined,
    });
    assert.equal(entry.prompt_tokens, usage.prompt_tokens);
    assert.equal(entry.generated_tokens, 8);
    assert.equal(entry.finish_reason, "length");
    const { queue_ms, prompt_ms, total_ms } = entry;
    assert.ok(queue_ms! >= 0 && prompt_ms! > 0 && total_ms >= prompt_ms!);
    assert.match(entry.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  }
  assert.equal(whole.cached_tokens, 0);
  assert.ok(streamed.cached_tokens! > 0);
  const prompts = ["Tom had a", "Lily"].map((text) =>
    tiny.model.tokenize(text)
  );
  assert.equal(several.prompt_tokens, prompts.flat().length);
  assert.equal(several.generated_tokens, 48);
  assert.ok(embedded.prompt_tokens! > 1);
  assert.equal(embedded.generated_tokens, 0);
});

Deno.test("a request that is refused, or nobody waits for, is logged with the type of its error", async () => {
  await using served = await logged({ apiKeys: ["secret-key"] });
  const { tiny, log } = served;
  const headers = { authorization: "Bearer secret-key" };
  await tiny.post("/v1/completions?api_key=secret-key", story);
  await tiny.post("/v1/completions", { prompt: 1 }, { headers });
  await tiny.post("/nothing", {}, { headers });
  const text = await tiny.post("/v1/completions", {
    ...story,
    max_tokens: 200,
    stream: true,
  }, { headers });
  await text.body!.cancel();
  while (log.length < 4) await turn();
  assert.deepEqual(
    log.map(({ status, error, aborted }) => [status, error, aborted]),
    [
      [401, "authentication_error", false],
      [400, "invalid_request_error", false],
      [404, "not_found_error", false],
      [200, "aborted_error", true],
    ],
  );
  assert.ok(log[3].generated_tokens! < 200);
  assert.doesNotMatch(JSON.stringify(log), /secret|Tom/);
});

Deno.test("prompts and answers are logged only where that is asked for", async () => {
  await using served = await logged({ logPrompts: true });
  const { tiny, log } = served;
  const answer = await (await tiny.post("/v1/completions", story)).json();
  assert.deepEqual(log[0].request, story);
  assert.deepEqual(log[0].answers, [answer.choices[0].text]);
});

Deno.test("each answer has an id, the client's own where it is sound", async () => {
  await using served = await logged();
  const { tiny, log } = served;
  const given = ["abc-1.2:3", "a b", "x".repeat(129), "é", ""];
  for (const [i, id] of given.entries()) {
    const headers = new Headers();
    try {
      headers.set("x-request-id", id);
    } catch {
      // No header may have it.
    }
    const response = await tiny.post("/tokenize", { content: "a" }, {
      headers,
    });
    const told = response.headers.get("x-request-id")!;
    await response.text();
    assert.equal(told, log[i].id);
    if (i === 0) assert.equal(told, id);
    else assert.match(told, /^[\da-f-]{36}$/);
  }
  const missing = await tiny.get("/v1/messages/nothing");
  const id = missing.headers.get("x-request-id");
  assert.ok(id);
  assert.equal(missing.headers.get("request-id"), id);
});

Deno.test("a log that fails harms no answer", async () => {
  const told: unknown[] = [];
  await using tiny = await tinyServer({
    log: () => {
      throw new Error("full");
    },
    onError: (error) => told.push(error),
  });
  const response = await tiny.post("/v1/completions", story);
  assert.equal((await response.json()).usage.completion_tokens, 8);
  assert.match(String(told[0]), /full/);
});
