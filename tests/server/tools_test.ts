/** Tools and reasoning over HTTP, by the clients that most people use. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";
import { script } from "./scripted.ts";
import { chunksOf, type TinyServer, tinyServer } from "./tiny_server.ts";

const { template, calls: [call], two } = toolFamilies.hermes;
const thinking = `${template}{# <think> </think> #}`;
const user = { role: "user" as const, content: "Will it rain?" };
const chat = { model: "any", messages: [user] };
const tools = rainTools as OpenAI.ChatCompletionTool[];
const rain = { city: "Oslo", days: 2 };

const openai = ({ server }: TinyServer) =>
  new OpenAI({
    apiKey: "none",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: (url, init) => server.fetch(new Request(url, init)),
  });

Deno.test("openai: calls of tools, whole", async () => {
  await using tiny = await tinyServer({ template });
  script(tiny.model, [`Let me see.\n${two}`, call]);
  const { completions } = openai(tiny).chat;
  const { choices: [choice] } = await completions.create({ ...chat, tools });
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, "Let me see.");
  const made = choice.message.tool_calls!.map((call) => {
    assert.ok(call.type === "function");
    assert.match(call.id, /^[A-Za-z0-9]{9}$/);
    return [call.function.name, JSON.parse(call.function.arguments)];
  });
  assert.deepEqual(made, [["rain", rain], ["stop", {}]]);
  // Cut short by its limit, the call is as far as it came.
  const { choices: [cut] } = await completions.create({
    ...chat,
    tools,
    max_completion_tokens: 40,
  });
  assert.equal(cut.finish_reason, "length");
  assert.equal(cut.message.content, null);
  const [begun] = cut.message.tool_calls!;
  assert.ok(begun.type === "function");
  assert.match(begun.function.arguments, /^\{"city": "/);
  assert.throws(() => JSON.parse(begun.function.arguments), SyntaxError);
});

Deno.test("openai: calls of tools, streamed, and answered", async () => {
  await using tiny = await tinyServer({ template });
  const said = script(tiny.model, [two!, "It rains."]);
  const asked: unknown[] = [];
  const runner = openai(tiny).chat.completions.runTools({
    ...chat,
    stream: true,
    tools: rainTools.map(({ function: { name } }) => ({
      type: "function" as const,
      function: {
        name,
        parameters: { type: "object", properties: {} },
        parse: (text: string) => JSON.parse(text),
        description: name,
        function: (given: object) => {
          asked.push([name, given]);
          return `${name} done`;
        },
      },
    })),
  });
  assert.equal(await runner.finalContent(), "It rains.");
  assert.deepEqual(asked, [["rain", rain], ["stop", {}]]);
  const [, second] = said.prompts;
  assert.ok(second.includes(call), second);
  assert.ok(second.includes("rain done"), second);
});

Deno.test("calls of tools come in OpenAI's chunks", async () => {
  await using tiny = await tinyServer({ template });
  script(tiny.model, [`Look.\n${two}`]);
  const response = await tiny.post("/v1/chat/completions", {
    ...chat,
    tools,
    stream: true,
  });
  const chunks = await chunksOf(response);
  const [first, ...rest] = chunks.map(({ choices: [choice] }) => choice);
  assert.deepEqual(first.delta, { role: "assistant", content: null });
  const last = rest.pop();
  assert.deepEqual([last.delta, last.finish_reason], [{}, "tool_calls"]);
  const begun = new Map<number, { id: string; name: string; given: string }>();
  let content = "";
  for (const { delta, finish_reason } of rest) {
    assert.equal(finish_reason, null);
    content += delta.content ?? "";
    for (
      const { index, id, type, function: called } of delta.tool_calls ?? []
    ) {
      if (id !== undefined) {
        assert.deepEqual([type, called.arguments], ["function", ""]);
        begun.set(index, { id, name: called.name, given: "" });
      } else {
        assert.equal(called.name, undefined);
        begun.get(index)!.given += called.arguments;
      }
    }
  }
  assert.equal(content, "Look.");
  assert.deepEqual(
    [...begun].map((
      [index, { name, given }],
    ) => [index, name, JSON.parse(given)]),
    [[0, "rain", rain], [1, "stop", {}]],
  );
  // The arguments come in pieces, not at once.
  const pieces = rest.filter(({ delta }) =>
    delta.tool_calls?.[0].index === 0 && delta.tool_calls[0].id === undefined
  );
  assert.ok(pieces.length > 3, `${pieces.length}`);
});

Deno.test("each token of an answer with tags has its log-probability once", async () => {
  await using tiny = await tinyServer({ template });
  const request = { ...chat, tools, logprobs: true, top_logprobs: 1 };
  script(tiny.model, [`Look. ${call}`, `Look. ${call}`]);
  const whole = await tiny.post("/v1/chat/completions", request);
  const { choices: [{ logprobs }], usage } = await whole.json();
  // But for the one that ends it.
  assert.equal(logprobs.content.length, usage.completion_tokens - 1);
  const streamed = await tiny.post("/v1/chat/completions", {
    ...request,
    stream: true,
  });
  const chunks = await chunksOf(streamed);
  const all = chunks.flatMap(({ choices: [choice] }) =>
    choice.logprobs?.content ?? []
  );
  assert.deepEqual(all, logprobs.content);
});

Deno.test("reasoning is a field of its own, unless it is asked to stay", async () => {
  await using tiny = await tinyServer({ template: thinking });
  const answer = "<think>\nHm, rain.\n</think>\n\nIt rains.";
  script(tiny.model, [answer, answer, answer]);
  const message = async (fields: object) => {
    const body = { ...chat, ...fields };
    const response = await tiny.post("/v1/chat/completions", body);
    return (await response.json()).choices[0].message;
  };
  assert.deepEqual(await message({}), {
    role: "assistant",
    content: "It rains.",
    refusal: null,
    annotations: [],
    reasoning_content: "Hm, rain.",
  });
  assert.equal((await message({ reasoning_format: "none" })).content, answer);
  const response = await tiny.post("/v1/chat/completions", {
    ...chat,
    stream: true,
  });
  let reasoning = "", content = "";
  for (const { choices: [{ delta }] } of await chunksOf(response)) {
    reasoning += delta.reasoning_content ?? "";
    content += delta.content ?? "";
  }
  assert.deepEqual([reasoning, content], ["Hm, rain.", "It rains."]);
});

Deno.test("templates are told what the request says for them, and no tools where none may be called", async () => {
  const told =
    "{{ enable_thinking }} {{ reasoning_effort }} {{ tools | length if tools }}";
  await using tiny = await tinyServer({ template: told });
  const said = script(tiny.model, ["", "", call]);
  const post = (fields: object) =>
    tiny.post("/v1/chat/completions", { ...chat, ...fields });
  await post({
    tools,
    reasoning_effort: "low",
    chat_template_kwargs: { enable_thinking: false },
  });
  await post({ tools, tool_choice: "none", reasoning_effort: null });
  assert.deepEqual(
    said.prompts.map((prompt) => prompt.replace("<s>", "").trim()),
    ["False low 2", ""],
  );
  const response = await post({ tools, tool_choice: "none" });
  const { choices: [{ message }] } = await response.json();
  assert.equal(message.content, call);
});

Deno.test("a template that asks whether there are tools is told that an empty list is none", async () => {
  const asks = "{{ 'Call a function.' if tools is not none else 'Answer.' }}";
  await using tiny = await tinyServer({ template: asks });
  const promptOf = async (more: object) => {
    const body = { messages: [user], ...more };
    const response = await tiny.post("/apply-template", body);
    return (await response.json()).prompt;
  };
  assert.equal(await promptOf({}), "Answer.");
  assert.equal(await promptOf({ tools: [] }), "Answer.");
  assert.equal(await promptOf({ tools }), "Call a function.");
});

const place = {
  type: "object",
  properties: { city: { enum: ["Oslo", "Rome"] }, days: { enum: [1, 2] } },
  required: ["city", "days"],
  additionalProperties: false,
} as const;

function assertPlace(value: unknown): void {
  const { city, days, ...rest } = value as Record<string, unknown>;
  assert.ok(city === "Oslo" || city === "Rome", `${city}`);
  assert.ok(days === 1 || days === 2, `${days}`);
  assert.deepEqual(rest, {});
}

Deno.test("openai: a tool that must be called, and answers of a schema, by the model itself", async () => {
  await using tiny = await tinyServer({ template });
  const { completions } = openai(tiny).chat;
  const request = { ...chat, temperature: 1, max_completion_tokens: 200 };
  const tools = ["rain", "snow"].map((name) => ({
    type: "function" as const,
    function: { name, parameters: place, strict: true },
  }));
  for (
    const tool_choice of [
      "required",
      { type: "function", function: { name: "snow" } },
    ] as const
  ) {
    const { choices } = await completions.create({
      ...request,
      n: 3,
      seed: 1,
      tools,
      tool_choice,
      parallel_tool_calls: false,
    });
    for (const { finish_reason, message } of choices) {
      assert.equal(finish_reason, "tool_calls");
      assert.equal(message.content, null);
      const [called, ...more] = message.tool_calls!;
      assert.deepEqual(more, []);
      assert.ok(called.type === "function");
      if (tool_choice !== "required") {
        assert.equal(called.function.name, "snow");
      }
      assertPlace(JSON.parse(called.function.arguments));
    }
  }
  const formats = [
    {
      type: "json_schema",
      json_schema: { name: "place", schema: place, strict: true },
    },
    { type: "json_object", schema: place },
  ] as OpenAI.ResponseFormatJSONSchema[];
  for (const response_format of formats) {
    const { choices } = await completions.create({
      ...request,
      seed: 2,
      response_format,
    });
    assertPlace(JSON.parse(choices[0].message.content!));
  }
  const own = await tiny.post("/v1/chat/completions", {
    ...request,
    json_schema: place,
  });
  assertPlace(JSON.parse((await own.json()).choices[0].message.content));
  const free = await completions.create({
    ...request,
    response_format: { type: "json_object" },
    stop: ["}"],
  });
  assert.match(free.choices[0].message.content!, /^\s*\{/);
  const grammar = await tiny.post("/v1/chat/completions", {
    ...request,
    grammar: 'root ::= "yes" | "no"',
  });
  const { choices: [{ message }] } = await grammar.json();
  assert.match(message.content, /^(yes|no)$/);
});
