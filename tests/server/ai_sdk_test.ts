/** The AI SDK's functions over a model in the same process, by `culm()` of examples/ai-sdk. */
import assert from "node:assert/strict";
import {
  APICallError,
  generateText,
  jsonSchema,
  Output,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { culm } from "../../examples/ai-sdk/culm.ts";
import { type LanguageModel, load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";
import { script } from "./scripted.ts";

const { template, calls: [call] } = toolFamilies.hermes;
const rain = { city: "Oslo", days: 2 };
const question = { prompt: "Will it rain?", maxRetries: 0 };

const loadTiny = () => load(tinyBamboo(), { threads: 0 });

let model: LanguageModel;
Deno.test.beforeAll(async () => {
  model = await loadTiny();
});
Deno.test.afterAll(() => model[Symbol.asyncDispose]());

Deno.test("ai: a text, whole and streamed, with its usage", async () => {
  const request = {
    ...question,
    model: culm(model),
    temperature: 0,
    maxOutputTokens: 12,
  };
  const whole = await generateText(request);
  assert.notEqual(whole.text, "");
  assert.deepEqual(whole.warnings, []);
  assert.equal(whole.finishReason, "length");
  assert.equal(whole.usage.outputTokens, 12);
  const streamed = streamText(request);
  const pieces = await Array.fromAsync(streamed.textStream);
  assert.ok(pieces.length > 3, `${pieces.length} pieces`);
  assert.equal(pieces.join(""), whole.text);
  assert.equal(await streamed.finishReason, "length");
  const { inputTokens, outputTokens } = await streamed.usage;
  assert.deepEqual([inputTokens, outputTokens], [whole.usage.inputTokens, 12]);
});

Deno.test("ai: calls of tools, their results, and reasoning", async () => {
  await using model = await loadTiny();
  const thinking = `${template}{# <think> </think> #}`;
  const asked: unknown[] = [];
  const rainTool = tool({
    description: "How much it rains",
    inputSchema: jsonSchema<typeof rain>(
      rainTools[0].function.parameters as Parameters<typeof jsonSchema>[0],
    ),
    execute: (given) => {
      asked.push(given);
      return { mm: 3 };
    },
  });
  const request = {
    ...question,
    model: culm(model, { template: thinking }),
    tools: { rain: rainTool },
    stopWhen: stepCountIs(3),
  };
  const said = script(model, [
    `<think>I ask.</think>${call}`,
    "It rains.",
    `<think>I ask.</think>${call}`,
    "It rains.",
  ]);
  const whole = await generateText(request);
  assert.equal(whole.text, "It rains.");
  assert.equal(whole.steps[0].reasoningText, "I ask.");
  assert.equal(whole.steps[0].finishReason, "tool-calls");
  const streamed = streamText(request);
  let text = "";
  for await (const piece of streamed.textStream) text += piece;
  assert.equal(text, "It rains.");
  assert.deepEqual(asked, [rain, rain]);
  assert.ok(said.prompts[1].includes('{"mm":3}'), said.prompts[1]);
});

const place = jsonSchema<{ city: string; days: number }>({
  type: "object",
  properties: { city: { enum: ["Oslo", "Rome"] }, days: { enum: [1, 2] } },
  required: ["city", "days"],
  additionalProperties: false,
});

function assertPlace({ city, days, ...rest }: Record<string, unknown>): void {
  assert.ok(city === "Oslo" || city === "Rome", `${city}`);
  assert.ok(days === 1 || days === 2, `${days}`);
  assert.deepEqual(rest, {});
}

Deno.test("ai: an object of a schema, and a tool that must be called, by the model itself", async () => {
  const request = {
    ...question,
    model: culm(model, { template }),
    seed: 3,
    temperature: 1,
    maxOutputTokens: 200,
  };
  const output = Output.object({ schema: place });
  assertPlace((await generateText({ ...request, output })).output);
  const streamed = streamText({ ...request, output });
  const partial = await Array.fromAsync(streamed.partialOutputStream);
  assert.ok(partial.length > 1, `${partial.length} objects`);
  assertPlace(await streamed.output);
  const { toolCalls } = streamText({
    ...request,
    tools: { rain: tool({ inputSchema: place }) },
    toolChoice: "required",
  });
  const calls = await toolCalls;
  assert.ok(calls.length > 0);
  for (const { toolName, input } of calls) {
    assert.equal(toolName, "rain");
    assertPlace(input as Record<string, unknown>);
  }
});

Deno.test("ai: errors say what is wrong, and an abort ends the work", async () => {
  const request = { ...question, model: culm(model) };
  const wrong = generateText({ ...request, topP: 2 });
  await assert.rejects(
    wrong,
    (error) =>
      APICallError.isInstance(error) && error.statusCode === 400 &&
      /top_p/.test(error.message),
  );
  const { tokens } = model.engine.stats();
  const abort = new AbortController();
  let isAborted = false;
  const streamed = streamText({
    ...request,
    temperature: 1,
    maxOutputTokens: 400,
    abortSignal: abort.signal,
    onAbort() {
      isAborted = true;
    },
  });
  for await (const _ of streamed.textStream) abort.abort();
  assert.ok(isAborted);
  // What comes next waits for nothing of it.
  await generateText({ ...request, maxOutputTokens: 1 });
  assert.ok(model.engine.stats().tokens < tokens + 300);
});
