/** `/v1/embeddings`: OpenAI's form, the model's own vectors, and what is refused. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { tinyServer } from "./tiny_server.ts";

const texts = ["Once upon a time", "Tom had a red ball"];

Deno.test("embeddings come in their texts' order, and are the model's", async () => {
  await using tiny = await tinyServer();
  const { model, server } = tiny;
  const client = new OpenAI({
    apiKey: "any",
    baseURL: "http://localhost/v1",
    fetch: (url: string | URL | Request, init?: RequestInit) =>
      server.fetch(new Request(url, init)),
  });
  const expected = await Promise.all(texts.map((text) => model.embed(text)));
  // The client asks for base64 by itself.
  const given = await client.embeddings.create({ model: "x", input: texts });
  assert.deepEqual(given.data.map(({ index }) => index), [0, 1]);
  given.data.forEach(({ embedding }, i) =>
    assert.deepEqual(Float32Array.from(embedding), expected[i])
  );
  const tokens = texts.map((text) => model.tokenize(text));
  assert.equal(given.usage.prompt_tokens, tokens.flat().length);
  const short = await client.embeddings.create({
    model: "x",
    input: tokens[0],
    dimensions: 8,
    encoding_format: "float",
  });
  const [{ embedding }] = short.data;
  assert.equal(embedding.length, 8);
  assert(Math.abs(Math.hypot(...embedding) - 1) < 1e-6);
});

Deno.test("llama.cpp's form has a list of vectors for each text", async () => {
  await using tiny = await tinyServer({ pooling: "last" });
  const response = await tiny.post("/embedding", {
    content: texts[0],
    embd_normalize: -1,
  });
  const options = { pooling: "last", normalize: false } as const;
  const expected = await tiny.model.embed(texts[0], options);
  assert.deepEqual(await response.json(), [
    { index: 0, embedding: [[...expected]] },
  ]);
});

Deno.test("what cannot be embedded is refused by its field, and others go on", async () => {
  await using tiny = await tinyServer();
  const long = "word ".repeat(tiny.model.engine.contextSize);
  const wrong = [
    [{}, 400, "input"],
    [{ input: [] }, 400, "input"],
    [{ input: [[]] }, 400, "input"],
    [{ input: "a", encoding_format: "hex" }, 400, "encoding_format"],
    [{ input: "a", dimensions: 0 }, 400, "dimensions"],
    [{ input: "a", dimensions: 1e6 }, 400, null],
    [{ input: [texts[0], long] }, 400, null],
    [{ input: [[5, 1e9]] }, 400, null],
  ] as const;
  for (const [body, status, param] of wrong) {
    const response = await tiny.post("/v1/embeddings", body);
    const { error } = await response.json();
    assert.equal(response.status, status, JSON.stringify(error));
    assert.equal(error.param, param);
  }
  const response = await tiny.post("/v1/embeddings", { input: texts });
  assert.equal((await response.json()).data.length, 2);
  assert.equal(tiny.model.engine.pagesTaken, 0);
});

Deno.test("metrics count the tokens of what is embedded", async () => {
  await using tiny = await tinyServer({ metrics: true });
  const input = ["Lily went home.", "Tom had a ball."];
  const response = await tiny.post("/v1/embeddings", { input });
  const { usage } = await response.json();
  const text = await (await tiny.get("/metrics")).text();
  const [, count] = text.match(/^llamacpp:prompt_tokens_total (\d+)$/m)!;
  assert.equal(Number(count), usage.prompt_tokens);
});
