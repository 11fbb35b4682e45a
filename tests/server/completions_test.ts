import assert from "node:assert/strict";
import { logSoftmaxAt, topLogprobs } from "../../src/sampling/logprobs.ts";
import { chunksOf, tinyServer } from "./tiny_server.ts";

const prompt = "Tom had a red ball.";
const greedy = { temperature: 0, max_tokens: 8 };

Deno.test("a completion is what the library writes, for a text and for its ids", async () => {
  await using tiny = await tinyServer();
  const options = { temperature: 0, maxTokens: 8 };
  const text = await tiny.model.complete(prompt, options);
  const ids = tiny.model.tokenize(prompt);
  for (const asked of [prompt, [prompt], ids, [ids]]) {
    const response = await tiny.post("/v1/completions", {
      ...greedy,
      prompt: asked,
    });
    const whole = await response.json();
    assert.equal(whole.object, "text_completion");
    assert.deepEqual(whole.choices, [
      { index: 0, text, logprobs: null, finish_reason: "length" },
    ]);
    assert.equal(whole.usage.prompt_tokens, ids.length);
  }
  // Ids are taken as they are: no BOS comes before them.
  const bare = ids.slice(1);
  const response = await tiny.post("/v1/completions", {
    ...greedy,
    prompt: bare,
  });
  const whole = await response.json();
  assert.equal(whole.usage.prompt_tokens, bare.length);
  assert.equal(
    whole.choices[0].text,
    await tiny.model.complete(bare, options),
  );
});

Deno.test("several prompts have their answers in their order, n of each", async () => {
  await using tiny = await tinyServer();
  const prompts = ["Lily went home.", tiny.model.tokenize(prompt), "The dog"];
  const body = { prompt: prompts, n: 2, max_tokens: 6, seed: 3, echo: true };
  const whole = await (await tiny.post("/v1/completions", body)).json();
  const begins = ["Lily went home.", prompt, "The dog"];
  const texts: string[] = whole.choices.map(
    ({ index, text }: { index: number; text: string }, i: number) => {
      assert.equal(index, i);
      assert.ok(text.startsWith(begins[i >> 1]), text);
      return text;
    },
  );
  assert.equal(texts.length, 6);
  const chunks = await chunksOf(
    await tiny.post("/v1/completions", { ...body, stream: true }),
  );
  const streamed = texts.map(() => "");
  for (const { choices: [{ index, text }] } of chunks) streamed[index] += text;
  assert.deepEqual(streamed, texts);
});

Deno.test("a completion is held to what it is to be", async () => {
  await using tiny = await tinyServer();
  const json_schema = { enum: ["red", "blue"] };
  const format = { type: "json_schema", json_schema: { schema: json_schema } };
  const cases: [object, RegExp][] = [
    [{ json_schema }, /^"(red|blue)"$/],
    [{ response_format: format }, /^"(red|blue)"$/],
    [{ grammar: 'root ::= " " ("red" | "blue") "."' }, /^ (red|blue)\.$/],
    [{ json_schema, grammar: "" }, /^"(red|blue)"$/],
  ];
  for (const [held, expected] of cases) {
    const response = await tiny.post("/v1/completions", { prompt, ...held });
    const { choices: [{ text, finish_reason }] } = await response.json();
    assert.match(text, expected);
    assert.equal(finish_reason, "stop");
  }
});

Deno.test("echo with logprobs scores each token of the prompt as the engine does, to the last bit", async () => {
  await using tiny = await tinyServer();
  const { engine, tokenizer } = tiny.model;
  // Longer than two pieces of a step.
  const ids = tiny.model.tokenize(`${prompt} He ran to the park. `.repeat(14));
  assert.ok(ids.length > engine.batchSize);
  const response = await tiny.post("/v1/completions", {
    prompt: [ids],
    max_tokens: 1,
    logprobs: 1,
    echo: true,
    temperature: 0,
    seed: 1234,
  });
  const { choices: [{ logprobs, text }] } = await response.json();
  const lists = Object.values(logprobs) as unknown[][];
  assert.deepEqual(
    lists.map((list) => list.length),
    lists.map(() => ids.length + 1),
  );
  assert.deepEqual(
    [logprobs.token_logprobs[0], logprobs.top_logprobs[0]],
    [null, null],
  );
  using sequence = engine.createSequence();
  const rows = await engine.evaluate(sequence, ids, "all");
  for (const [i, logits] of rows.entries()) {
    const [best] = topLogprobs(logits, 1);
    const next = i + 1 < ids.length ? ids[i + 1] : best.id;
    const logprob = logprobs.token_logprobs[i + 1];
    assert.equal(logprob, logSoftmaxAt(logits, next), `token ${i + 1}`);
    const top = Object.values(logprobs.top_logprobs[i + 1]) as number[];
    assert.equal(Math.max(...top), best.logprob);
    assert.equal(next === best.id, logprob === best.logprob);
  }
  const pieces = logprobs.text_offset.map((offset: number, i: number) =>
    text.slice(offset, logprobs.text_offset[i + 1])
  );
  assert.equal(pieces.join(""), text);
  const named = ids.map((id) => tokenizer.pieceBytes(id));
  assert.deepEqual(
    logprobs.tokens.slice(0, -1),
    named.map((bytes) => new TextDecoder().decode(bytes)),
  );
});

Deno.test("a completion's log-probabilities are the same streamed, and without a prompt", async () => {
  await using tiny = await tinyServer();
  const body = { ...greedy, prompt, logprobs: 2 };
  const whole = await (await tiny.post("/v1/completions", body)).json();
  const { logprobs, text } = whole.choices[0];
  assert.equal(logprobs.tokens.length, 8);
  assert.equal(logprobs.text_offset[0], 0);
  assert.equal(logprobs.tokens.join(""), text);
  const chunks = await chunksOf(
    await tiny.post("/v1/completions", { ...body, stream: true }),
  );
  const streamed = chunks.flatMap(({ choices: [{ logprobs }] }) =>
    logprobs?.token_logprobs ?? []
  );
  assert.deepEqual(streamed, logprobs.token_logprobs);
});

Deno.test("a prompt is scored without a token being written", async () => {
  await using tiny = await tinyServer();
  const response = await tiny.post("/v1/completions", {
    prompt,
    max_tokens: 0,
    logprobs: 0,
    echo: true,
  });
  const { choices: [choice], usage } = await response.json();
  assert.equal(choice.text, prompt);
  assert.equal(choice.logprobs.tokens.length, usage.prompt_tokens);
  assert.equal(usage.completion_tokens, 0);
});

Deno.test("what is wrong with a completion is said by the field's name", async (t) => {
  await using tiny = await tinyServer();
  const cases: [body: object, status: number, param: string | null][] = [
    [{}, 400, "prompt"],
    [{ prompt: [] }, 400, "prompt"],
    [{ prompt: { text: "" } }, 400, "prompt"],
    [{ prompt, suffix: " end" }, 501, "suffix"],
    [{ prompt, n: 2, best_of: 4 }, 400, "best_of"],
    [{ prompt, logprobs: true }, 400, "logprobs"],
    [{ prompt, echo: 1 }, 400, "echo"],
    [{ prompt: [[99999]] }, 400, null],
    [{ prompt: [[]] }, 400, null],
    [{ prompt, samplers: ["nothing"] }, 400, null],
  ];
  for (const [body, status, param] of cases) {
    await t.step(JSON.stringify(body), async () => {
      const response = await tiny.post("/v1/completions", body);
      const { error } = await response.json();
      assert.deepEqual([response.status, error.param], [status, param]);
      assert.match(error.message, /^Cannot /);
    });
  }
});
