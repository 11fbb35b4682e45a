/** Batches: which lines are refused, and that results depend on the lines alone. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { load, UsageError } from "../../../mod.ts";
import { createServer, readBatch, runBatch } from "../../../server.ts";
import { byPrefix } from "../../../src/server/batch/lines.ts";
import { stableBody } from "../../../src/server/batch/stable_body.ts";
import { tinyBamboo } from "../../../tiny/tiny.ts";

const line = (
  custom_id: unknown,
  url: unknown,
  body: unknown,
  method: unknown = "POST",
) => JSON.stringify({ custom_id, method, url, body });

const good = line("a", "/v1/embeddings", { input: "Tom" });

const refused: readonly (readonly [name: string, text: string, why: RegExp])[] =
  [
    ["nothing", "\n\n", /empty/],
    ["no JSON", `${good}\n{`, /line 2 .* no JSON/],
    ["a list", "[]", /line 1 .* no object/],
    ["no custom_id", line(undefined, "/v1/embeddings", {}), /custom_id/],
    ["a custom_id that is empty", line("", "/v1/embeddings", {}), /custom_id/],
    ["one that is long", line("a".repeat(513), "/v1/x", {}), /512/],
    ["the same twice", `${good}\n\n${good}`, /line 3 .* that of line 1/],
    ["another method", line("a", "/v1/embeddings", {}, "GET"), /method "GET"/],
    ["another path", line("a", "/v1/models", {}), /url "\/v1\/models"/],
    ["a body that is a text", line("a", "/v1/embeddings", ""), /body/],
    ["a stream", line("a", "/v1/completions", { stream: true }), /stream/],
  ];

for (const [name, text, why] of refused) {
  Deno.test(`a batch with ${name} is refused`, () => {
    assert.throws(
      () => readBatch(text),
      (error) => error instanceof UsageError && why.test(error.message),
    );
  });
}

Deno.test("lines whose prompts begin alike are neighbours", () => {
  const arbitrary = fc.array(fc.tuple(fc.nat(3), fc.string()), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(fc.property(arbitrary, (prompts) => {
    const lines = readBatch(
      prompts.map(([topic, rest], i) =>
        line(`${i}`, "/v1/completions", {
          max_tokens: i,
          prompt: `${topic}: ${rest}`,
        })
      ).join("\n"),
    );
    const ordered = byPrefix(lines);
    assert.deepEqual(new Set(ordered), new Set(lines));
    const topics = ordered.map(({ body }) => String(body.prompt)[0]);
    const changes = topics.filter((topic, i) => topic !== topics[i - 1]);
    assert.equal(changes.length, new Set(topics).size);
  }));
});

Deno.test("a body's ids and times are the batch's, and what it took is left out", () => {
  const id = "0123456789abcdef".repeat(2), other = "f".repeat(32);
  const digest = "e".repeat(32);
  const body = {
    id: `chatcmpl-${id}`,
    created: 1,
    completed_at: null,
    timings: { prompt_ms: 3 },
    usage: { total_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } },
    items: [{ id: `msg_${other}`, text: `msg_${other}` }, { id: "mine" }],
    again: { id: `chatcmpl-${id}` },
  };
  assert.deepEqual(stableBody(body, digest, 7), {
    id: `chatcmpl-${digest}`,
    created: 7,
    completed_at: null,
    usage: { total_tokens: 3 },
    items: [{ id: `msg_${digest}-1`, text: `msg_${other}` }, { id: "mine" }],
    again: { id: `chatcmpl-${digest}` },
  });
});

/** Requests of every path, one of them wrong. */
const requests = [
  ...Array.from({ length: 6 }, (_, i) =>
    line(`story ${i}`, "/v1/completions", {
      prompt: `Tom had ${i % 2} balls. He`,
      max_tokens: 6,
    })),
  line("chat", "/v1/chat/completions", {
    messages: [{ role: "user", content: "Hi" }],
    max_tokens: 6,
  }),
  line("response", "/v1/responses", {
    model: "tiny",
    input: "Hi",
    max_output_tokens: 4,
  }),
  line("decision", "/v1/decisions", {
    prompt: "Tom had a",
    questions: [{ type: "choice", choices: [" dog", " cat"] }],
  }),
  line("embedding", "/v1/embeddings", { input: "Tom", dimensions: 4 }),
  line("wrong", "/v1/completions", { prompt: "Tom", max_tokens: "many" }),
].join("\n");

Deno.test("results depend on the lines alone: not on their order, nor on what runs beside them", async () => {
  const lines = readBatch(requests);
  const inTurn = await resultsOf(lines, 1);
  const together = await resultsOf(lines.toReversed(), 8);
  assert.deepEqual(together, inTurn);
  const statuses = new Set(
    lines.map(({ customId }) =>
      `${customId === "wrong"} ${inTurn[customId].response.status_code}`
    ),
  );
  assert.deepEqual(statuses, new Set(["false 200", "true 400"]));
  const texts = lines.slice(0, 6).map(({ customId }) =>
    JSON.stringify(inTurn[customId].response.body)
  );
  assert.equal(new Set(texts).size, 6, "each has a seed of its own");
});

async function resultsOf(
  lines: ReturnType<typeof readBatch>,
  concurrency: number,
) {
  await using model = await load(tinyBamboo(), { threads: 0 });
  await using server = createServer(model, { parallel: concurrency });
  const { fetch } = server;
  const results = await Array.fromAsync(
    runBatch(lines, { fetch: (it) => fetch(it), concurrency, created: 1 }),
  );
  return Object.fromEntries(results.map((each) => [each.custom_id, each]));
}

Deno.test("what has no room beside others is asked for once more", async () => {
  const lines = readBatch(requests);
  const asked: string[] = [];
  const fetch = async (request: Request) => {
    const { prompt } = await request.json();
    const isFirst = prompt === "Tom" && !asked.includes(prompt);
    asked.push(prompt);
    return Response.json({}, { status: isFirst ? 503 : 200 });
  };
  const options = { fetch, concurrency: 3, created: 1 };
  const results = await Array.fromAsync(runBatch(lines, options));
  assert.equal(results.length, lines.length);
  assert.ok(results.every(({ response }) => response.status_code === 200));
  assert.equal(asked.at(-1), "Tom");
});

Deno.test("a batch that is given up asks for no more", async () => {
  const giveUp = new AbortController();
  let asked = 0;
  const fetch = () => {
    asked++;
    giveUp.abort();
    return Promise.resolve(Response.json({}));
  };
  const { signal } = giveUp;
  const options = { fetch, concurrency: 1, created: 1, signal };
  const lines = readBatch(requests);
  await assert.rejects(
    () => Array.fromAsync(runBatch(lines, options)),
    { name: "AbortError" },
  );
  assert.equal(asked, 1);
});
