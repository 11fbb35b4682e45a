/** The client that most people use, as its users have it. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { type TinyServer, tinyServer } from "./tiny_server.ts";

const messages = [{ role: "user" as const, content: "Tell me a story." }];
const greedy = {
  model: "any",
  messages,
  temperature: 0,
  max_completion_tokens: 12,
};

function clientOf({ server }: TinyServer): OpenAI {
  return new OpenAI({
    apiKey: "none",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: (url, init) => server.fetch(new Request(url, init)),
  });
}

Deno.test("openai: a chat, whole, streamed and with its usage", async () => {
  await using tiny = await tinyServer();
  const { chat } = clientOf(tiny);
  const whole = await chat.completions.create(greedy);
  const text = whole.choices[0].message.content!;
  assert.notEqual(text, "");
  assert.equal(whole.usage!.completion_tokens, 12);

  let streamed = "", completionTokens = 0, finishReason: unknown;
  const stream = await chat.completions.create({
    ...greedy,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const { choices: [choice], usage } of stream) {
    streamed += choice?.delta.content ?? "";
    finishReason ??= choice?.finish_reason;
    completionTokens = usage?.completion_tokens ?? 0;
  }
  assert.deepEqual([streamed, finishReason], [text, "length"]);
  assert.equal(completionTokens, 12);

  const runner = chat.completions.stream(greedy);
  assert.equal(await runner.finalContent(), text);
});

Deno.test("openai: log-probabilities, several choices, a stop string", async () => {
  await using tiny = await tinyServer();
  const { chat } = clientOf(tiny);
  const { choices } = await chat.completions.create({
    ...greedy,
    n: 2,
    logprobs: true,
    top_logprobs: 2,
    stop: "zebra",
  });
  assert.equal(choices.length, 2);
  for (const { logprobs } of choices) {
    assert.equal(logprobs!.content!.length, 12);
    assert.equal(logprobs!.content![0].top_logprobs.length, 2);
  }
});

Deno.test("openai: completions, models", async () => {
  await using tiny = await tinyServer({ aliases: ["tiny"] });
  const client = clientOf(tiny);
  const { choices } = await client.completions.create({
    model: "tiny",
    prompt: ["Tom had", "Lily went"],
    max_tokens: 4,
    echo: true,
    logprobs: 1,
  });
  assert.deepEqual(
    choices.map(({ text }) => text.split(" ")[0]),
    ["Tom", "Lily"],
  );
  const names = [];
  for await (const { id } of client.models.list()) names.push(id);
  assert.deepEqual(names, ["tiny"]);
  assert.equal((await client.models.retrieve("tiny")).owned_by, "culm");
});

Deno.test("openai: errors are of its own classes, and an abort ends the work", async () => {
  await using tiny = await tinyServer();
  const client = clientOf(tiny);
  await assert.rejects(
    client.chat.completions.create({ ...greedy, temperature: "hot" as never }),
    (error: InstanceType<typeof OpenAI.APIError>) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.deepEqual(
        [error.status, error.type, error.param],
        [400, "invalid_request_error", "temperature"],
      );
      return true;
    },
  );
  await assert.rejects(
    client.models.retrieve("other"),
    OpenAI.NotFoundError,
  );
  const stream = await client.chat.completions.create({
    ...greedy,
    max_completion_tokens: 400,
    stream: true,
  });
  for await (const _ of stream) break;
  await tiny.server.stop();
  assert.ok(tiny.model.engine.stats().tokens < 300);
});
