/** Many requests at the same time: what each gets, and what they cost together. */
import assert from "node:assert/strict";
import { tinyServer } from "./tiny_server.ts";

/** Ids that follow from a seed. */
function idsOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 300 + (seed * 977 + i * 131) % 3000);
}

interface Answered {
  readonly tokens: readonly number[];
  readonly timings: { readonly cache_n: number; readonly prompt_n: number };
}

Deno.test("60 requests alone and together, cached and not, have the same tokens", async () => {
  await using tiny = await tinyServer({ parallel: 16 });
  const ask = async (i: number): Promise<Answered> => {
    const response = await tiny.post("/completion", {
      // Some begin alike, some are longer than a step's share.
      prompt: [...idsOf(i % 5, 40), ...idsOf(i, 4 + 7 * i % 60)],
      n_predict: 8,
      temperature: i % 2,
      seed: i,
      return_tokens: true,
    });
    return await response.json();
  };
  const numbers = Array.from({ length: 60 }, (_, i) => i);
  const alone: Answered[] = [];
  for (const i of numbers) alone.push(await ask(i));
  const tokens = alone.map(({ tokens }) => tokens);
  assert(new Set(tokens.map(String)).size > 30);
  const together = await Promise.all(numbers.map(ask));
  assert.deepEqual(together.map(({ tokens }) => tokens), tokens);
  // Which of the pasts are still there depends on who came when.
  assert(together.some(({ timings }) => timings.cache_n > 0));
  await using fresh = await tinyServer({ parallel: 60 });
  const others = await Promise.all(
    numbers.toReversed().map(async (i) => {
      const { model } = fresh;
      const prompt = [...idsOf(i % 5, 40), ...idsOf(i, 4 + 7 * i % 60)];
      const ids: number[] = [];
      const options = { maxTokens: 8, temperature: i % 2, seed: i };
      for await (
        const { id } of model.generate(prompt, {
          ...options,
          cachePrompt: false,
        })
      ) ids.push(id);
      return ids;
    }),
  );
  assert.deepEqual(others.toReversed(), tokens);
  assert.equal(tiny.model.engine.pagesTaken, 0);
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

Deno.test("a system prompt that 20 clients share is evaluated once, when they come together too", async () => {
  await using tiny = await tinyServer({ parallel: 20 });
  const system = idsOf(0, 320);
  const ask = async (i: number): Promise<Answered> => {
    const response = await tiny.post("/completion", {
      prompt: [...system, ...idsOf(i + 1, 9)],
      n_predict: 4,
    });
    return await response.json();
  };
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => ask(i)),
  );
  const evaluated = answers.map(({ timings }) => timings.prompt_n);
  const cached = answers.map(({ timings }) => timings.cache_n);
  assert.equal(evaluated.filter((count) => count > 320).length, 1);
  // Pages that are not full are not shared while their text goes on.
  assert(
    cached.filter((count) => count >= 320 - 64).length === 19,
    `${cached}`,
  );
  assert(evaluated.reduce((a, b) => a + b) < 2 * 320 + 20 * 9 + 19 * 64);
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
