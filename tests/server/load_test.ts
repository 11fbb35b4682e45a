/** Many requests at the same time: what each gets, and what they cost together. */
import assert from "node:assert/strict";
import { type TinyServer, tinyServer } from "./tiny_server.ts";

/** Ids that follow from a seed. */
function idsOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 300 + (seed * 977 + i * 131) % 3000);
}

interface Answered {
  readonly tokens: readonly number[];
  readonly timings: { readonly cache_n: number; readonly prompt_n: number };
}

/** One of many requests, and what of the answer follows from the tokens. */
interface Mixed {
  readonly path: string;
  readonly body: Record<string, unknown>;
  // deno-lint-ignore no-explicit-any -- what a route answers
  readonly said: (answer: any) => unknown;
}

/** Request number `i`: greedy, drawn by a seed, held to a schema, with a past and without. */
function mixedRequest(i: number): Mixed {
  // Some begin alike, some are longer than a step's share.
  const ids = [...idsOf(i % 5, 40), ...idsOf(i, 4 + 7 * i % 60)];
  const sampling = { temperature: i % 3 === 0 ? 0 : 1, seed: i };
  const content = `Tom has ${i} cats and ${i % 7} dogs.`;
  const messages = [{ role: "user", content }];
  const schema = { enum: [`a cat ${i % 3}`, `a dog ${i % 3}`, "nothing"] };
  const routes: Mixed[] = [{
    path: "/completion",
    body: { prompt: ids, n_predict: 6, return_tokens: true },
    said: ({ tokens }) => tokens,
  }, {
    path: "/completion",
    body: {
      prompt: ids,
      n_predict: 6,
      return_tokens: true,
      cache_prompt: false,
    },
    said: ({ tokens }) => tokens,
  }, {
    path: "/v1/completions",
    body: { prompt: ids, max_tokens: 5, n: 2, logprobs: 1 },
    said: ({ choices }) => choices,
  }, {
    path: "/v1/chat/completions",
    body: {
      messages,
      max_tokens: 12,
      response_format: {
        type: "json_schema",
        json_schema: { name: "pet", schema },
      },
    },
    said: ({ choices }) => choices,
  }, {
    path: "/v1/responses",
    body: { input: content, max_output_tokens: 5 },
    said: ({ output }) => output[0].content,
  }, {
    path: "/v1/messages",
    body: { messages, max_tokens: 5 },
    said: ({ content }) => content,
  }];
  const { body, ...route } = routes[i % routes.length];
  return { ...route, body: { model: "tiny", ...body, ...sampling } };
}

Deno.test("200 requests of all kinds, alone and together, have the same tokens", async () => {
  const numbers = Array.from({ length: 200 }, (_, i) => i);
  await using tiny = await tinyServer({ parallel: 16 });
  const ask = async (i: number): Promise<unknown> => {
    const { path, body, said } = mixedRequest(i);
    const response = await tiny.post(path, body);
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return said(answer);
  };
  const alone: unknown[] = [];
  for (const i of numbers) alone.push(await ask(i));
  assert(new Set(alone.map((said) => JSON.stringify(said))).size > 120);
  assert.deepEqual(await Promise.all(numbers.map(ask)), alone);
  const { engine } = tiny.model;
  assert(engine.cachedTokens > 0);
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("30 texts with a past, and without beside one another, have the same tokens", async () => {
  const numbers = Array.from({ length: 30 }, (_, i) => i);
  const prompt = (i: number) => [
    ...idsOf(i % 5, 40),
    ...idsOf(i, 4 + 7 * i % 60),
  ];
  const textOf = async (
    { model }: TinyServer,
    i: number,
    cachePrompt: boolean,
  ): Promise<number[]> => {
    const options = { maxTokens: 8, temperature: i % 2, seed: i, cachePrompt };
    const pieces = await Array.fromAsync(model.generate(prompt(i), options));
    return pieces.map(({ id }) => id);
  };
  await using tiny = await tinyServer();
  const known: number[][] = [];
  for (const i of numbers) known.push(await textOf(tiny, i, true));
  assert(tiny.model.engine.cachedTokens > 0);
  await using fresh = await tinyServer();
  const others = numbers.toReversed().map((i) => textOf(fresh, i, false));
  assert.deepEqual((await Promise.all(others)).toReversed(), known);
});

Deno.test("a chat of ten turns evaluates new tokens alone", async () => {
  await using tiny = await tinyServer();
  let past: number[] = [], known = 0;
  for (let turn = 0; turn < 10; turn++) {
    const said = idsOf(turn, 12);
    const response = await tiny.post("/completion", {
      prompt: [...past, ...said],
      n_predict: 6,
      ignore_eos: true,
      return_tokens: true,
    });
    const { tokens, timings }: Answered = await response.json();
    assert.equal(timings.cache_n, known);
    assert.equal(timings.prompt_n, past.length + said.length - known);
    past = [...past, ...said, ...tokens];
    // The last was drawn, and not evaluated.
    known = past.length - 1;
  }
});

Deno.test("a system prompt of 2,000 tokens that 20 clients share is evaluated once, when they come together too", async () => {
  const length = 2000;
  await using tiny = await tinyServer({ parallel: 20 }, { contextSize: 2048 });
  const system = idsOf(0, length);
  const ask = async (i: number): Promise<Answered> => {
    const response = await tiny.post("/completion", {
      prompt: [...system, ...idsOf(i + 1, 9)],
      n_predict: 2,
    });
    return await response.json();
  };
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => ask(i)),
  );
  const evaluated = answers.map(({ timings }) => timings.prompt_n);
  const cached = answers.map(({ timings }) => timings.cache_n);
  assert.equal(evaluated.filter((count) => count > length).length, 1);
  // Pages that are not full are not shared while their text goes on.
  assert.equal(
    cached.filter((count) => count >= length - 64).length,
    19,
    `${cached}`,
  );
  assert(evaluated.reduce((a, b) => a + b) < length + 20 * 9 + 19 * 64);
});

Deno.test("who waits for another's prompt is let go when it fails, and when nobody wants it", async () => {
  await using tiny = await tinyServer({ parallel: 4 });
  const prompt = idsOf(0, 400);
  const first = new AbortController(), second = new AbortController();
  const body = JSON.stringify({ prompt, n_predict: 2 });
  const ask = (signal?: AbortSignal) =>
    tiny.post("/completion", body, { signal });
  const asked = [ask(first.signal), ask(second.signal), ask()];
  await new Promise((resolve) => setTimeout(resolve, 1));
  second.abort();
  first.abort();
  const [, , answer] = await Promise.allSettled(asked);
  assert(answer.status === "fulfilled" && answer.value.ok);
  await answer.value.body!.cancel();
});
