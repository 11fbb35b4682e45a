/** LangChain over a model in the same process, by `culm()` of examples/langchain. */
import assert from "node:assert/strict";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import type { ChatOpenAIFields } from "@langchain/openai";
import type OpenAI from "openai";
import { culm } from "../../examples/langchain/culm.ts";
import { type LanguageModel, load } from "../../mod.ts";
import type { ServerOptions } from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";
import { script } from "./scripted.ts";

const { template, calls: [call] } = toolFamilies.hermes;
const rain = { city: "Oslo", days: 2 };

const loadTiny = () => load(tinyBamboo(), { threads: 0 });

const chatOf = (
  model: LanguageModel,
  fields: ChatOpenAIFields = {},
  options: ServerOptions = {},
) => culm(model, { temperature: 0, maxTokens: 12, ...fields }, options);

Deno.test("langchain: a chat, whole and streamed, with its usage and log-probabilities", async () => {
  await using tiny = await loadTiny();
  const whole = await chatOf(tiny, { logprobs: true, topLogprobs: 2 }).invoke(
    "Tell me a story.",
  );
  assert.notEqual(whole.text, "");
  assert.equal(whole.usage_metadata?.output_tokens, 12);
  const { finish_reason, logprobs } = whole.response_metadata;
  assert.equal(finish_reason, "length");
  const { content } = logprobs as OpenAI.ChatCompletion.Choice.Logprobs;
  assert.equal(content!.length, 12);
  assert.equal(content![0].top_logprobs.length, 2);

  let text = "", outputTokens = 0;
  for await (const chunk of await chatOf(tiny).stream("Tell me a story.")) {
    text += chunk.text;
    outputTokens += chunk.usage_metadata?.output_tokens ?? 0;
  }
  assert.equal(text, whole.text);
  assert.equal(outputTokens, 12);
});

Deno.test("langchain: calls of tools, whole and streamed, and answered", async () => {
  await using tiny = await loadTiny();
  const said = script(tiny, [call, call, "It rains."]);
  const model = chatOf(tiny, { maxTokens: -1 }, { template }).bindTools([
    ...rainTools,
  ]);
  const question = new HumanMessage("Will it rain?");
  const whole = await model.invoke([question]);
  const streamed = (await Array.fromAsync(await model.stream([question])))
    .reduce((all, chunk) => all.concat(chunk));
  for (const { tool_calls } of [whole, streamed]) {
    assert.deepEqual(
      tool_calls?.map(({ name, args }) => [name, args]),
      [["rain", rain]],
    );
  }
  const tool_call_id = whole.tool_calls![0].id!;
  const result = new ToolMessage({ content: "3 mm", tool_call_id });
  const last = await model.invoke([question, whole, result]);
  assert.equal(last.text, "It rains.");
  assert.ok(said.prompts[2].includes(call), said.prompts[2]);
  assert.ok(said.prompts[2].includes("3 mm"), said.prompts[2]);
});

Deno.test("langchain: an object of a schema, by the model itself", async () => {
  await using tiny = await loadTiny();
  const schema = {
    title: "place",
    type: "object",
    properties: { city: { enum: ["Oslo", "Rome"] } },
    required: ["city"],
    additionalProperties: false,
  };
  for (const method of ["jsonSchema", "functionCalling"] as const) {
    const place = await chatOf(tiny, { maxTokens: 100 }, { template })
      .withStructuredOutput<{ city: string }>(schema, { method })
      .invoke("Where will it rain?");
    assert.match(place.city, /^(Oslo|Rome)$/);
  }
});

Deno.test("langchain: errors say what is wrong, and an abort ends the work", async () => {
  await using tiny = await loadTiny();
  await assert.rejects(
    chatOf(tiny, { modelKwargs: { min_p: "high" } }).invoke("Hi"),
    { status: 400, message: /min_p/ },
  );
  const abort = new AbortController();
  const long = chatOf(tiny, { maxTokens: 400, temperature: 1 });
  await assert.rejects(async () => {
    for await (const _ of await long.stream("Hi", { signal: abort.signal })) {
      abort.abort();
    }
  });
  // What comes next waits for nothing of it.
  await chatOf(tiny, { maxTokens: 1 }).invoke("Hi");
  assert.ok(tiny.engine.stats().tokens < 300);
});
