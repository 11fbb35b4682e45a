/** Anthropic's form, by its own client and by hand. */
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";
import { script } from "./scripted.ts";
import { type TinyServer, tinyServer } from "./tiny_server.ts";

const { template, calls: [call], two } = toolFamilies.hermes;
const thinking = `${template}{# <think> </think> #}`;
const user = { role: "user" as const, content: "Will it rain?" };
const chat = { model: "any", max_tokens: 200, messages: [user] };
const rain = { city: "Oslo", days: 2 };
const tools = rainTools.map(({ function: { name, parameters } }) => ({
  name,
  description: name,
  input_schema: parameters,
})) as Anthropic.Tool[];

const clientOf = ({ server }: TinyServer) =>
  new Anthropic({
    apiKey: "none",
    baseURL: "http://localhost",
    maxRetries: 0,
    fetch: (url, init) => server.fetch(new Request(url, init)),
  });

// deno-lint-ignore no-explicit-any -- what others sent
type Event = any;

/** The events of a stream, each named by its type. */
async function eventsOf(response: Response): Promise<Event[]> {
  const text = await response.text();
  return text.trimEnd().split("\n\n").map((event) => {
    const [, name, data] = /^event: (\w+)\ndata: (.+)$/.exec(event)!;
    const value = JSON.parse(data);
    assert.equal(value.type, name);
    return value;
  });
}

Deno.test("anthropic: a message, whole and streamed", async () => {
  await using tiny = await tinyServer();
  const { messages } = clientOf(tiny);
  const greedy = {
    ...chat,
    temperature: 0,
    max_tokens: 12,
    system: "Be kind.",
  };
  const whole = await messages.create(greedy);
  const [block] = whole.content;
  assert.ok(block.type === "text");
  assert.notEqual(block.text, "");
  assert.deepEqual(
    [whole.type, whole.role, whole.stop_reason, whole.stop_sequence],
    ["message", "assistant", "max_tokens", null],
  );
  const { usage } = whole;
  assert.equal(usage.output_tokens, 12);
  assert.equal(usage.cache_read_input_tokens, 0);

  const stream = messages.stream(greedy);
  let text = "";
  stream.on("text", (delta) => text += delta);
  const final = await stream.finalMessage();
  assert.deepEqual(final.content, whole.content);
  assert.equal(text, block.text);
  assert.equal(final.stop_reason, "max_tokens");
  // The prompt had been read before.
  const cached = final.usage.cache_read_input_tokens!;
  assert.ok(cached > 0);
  assert.equal(final.usage.input_tokens + cached, usage.input_tokens);

  const counted = await messages.countTokens({
    model: "any",
    system: greedy.system,
    messages: greedy.messages,
  });
  assert.equal(counted.input_tokens, usage.input_tokens);
});

Deno.test("a message's events come in Anthropic's order", async () => {
  await using tiny = await tinyServer({ template: thinking });
  script(tiny.model, [`<think>Hm.</think>Look.\n${two}`]);
  const response = await tiny.post("/v1/messages", {
    ...chat,
    tools,
    stream: true,
  });
  const events = await eventsOf(response);
  const kinds = events.map(({ type, index, content_block, delta }) =>
    [type, index, content_block?.type ?? delta?.type]
      .filter((part) => part !== undefined).join(" ")
  );
  assert.deepEqual(kinds.filter((kind, i) => kind !== kinds[i - 1]), [
    "message_start",
    "ping",
    "content_block_start 0 thinking",
    "content_block_delta 0 thinking_delta",
    "content_block_delta 0 signature_delta",
    "content_block_stop 0",
    "content_block_start 1 text",
    "content_block_delta 1 text_delta",
    "content_block_stop 1",
    "content_block_start 2 tool_use",
    "content_block_delta 2 input_json_delta",
    "content_block_stop 2",
    "content_block_start 3 tool_use",
    "content_block_delta 3 input_json_delta",
    "content_block_stop 3",
    "message_delta",
    "message_stop",
  ]);
  const { message } = events[0];
  assert.deepEqual([message.content, message.stop_reason], [[], null]);
  assert.ok(message.usage.input_tokens > 0);
  const pieces = events.filter(({ index, delta }) => index === 2 && delta);
  assert.ok(pieces.length > 3, `${pieces.length}`);
  const { delta, usage } = events.at(-2);
  assert.equal(delta.stop_reason, "tool_use");
  assert.ok(usage.output_tokens > 0);
});

Deno.test("anthropic: calls of tools and thoughts, and what comes back of them", async () => {
  await using tiny = await tinyServer({ template: thinking });
  const { messages } = clientOf(tiny);
  const answer = `<think>\nI ask.\n</think>\n\nLook.\n${two}`;
  const said = script(tiny.model, [answer, answer, "It rains."]);
  const whole = await messages.create({ ...chat, tools });
  const streamed = await messages.stream({ ...chat, tools }).finalMessage();
  for (const { content, stop_reason } of [whole, streamed]) {
    assert.equal(stop_reason, "tool_use");
    assert.deepEqual(
      content.map((block) =>
        block.type === "thinking"
          ? block.thinking
          : block.type === "text"
          ? block.text
          : block.type === "tool_use"
          ? [block.name, block.input]
          : block
      ),
      ["I ask.", "Look.", ["rain", rain], ["stop", {}]],
    );
  }
  const calls = whole.content.filter((block) => block.type === "tool_use");
  const last = await messages.create({
    ...chat,
    tools,
    messages: [
      user,
      { role: "assistant", content: whole.content },
      {
        role: "user",
        content: [
          { type: "text", text: "Well?" },
          ...calls.map(({ id, name }) => ({
            type: "tool_result" as const,
            tool_use_id: id,
            content: [{ type: "text" as const, text: `${name} done` }],
          })),
        ],
      },
    ],
  });
  assert.deepEqual(
    [
      last.stop_reason,
      last.content.map((block) => "text" in block && block.text),
    ],
    ["end_turn", ["It rains."]],
  );
  const prompt = said.prompts[2];
  assert.ok(prompt.includes(call), prompt);
  // The results stand behind the calls, whatever else is said.
  assert.match(prompt, /rain done[^]*stop done[^]*Well\?/);
});

Deno.test("a call that was cut short has no input", async () => {
  await using tiny = await tinyServer({ template });
  script(tiny.model, [call]);
  const response = await tiny.post("/v1/messages", {
    ...chat,
    tools,
    max_tokens: 40,
  });
  const { content: [{ type, input }], stop_reason } = await response.json();
  assert.deepEqual([type, input, stop_reason], ["tool_use", {}, "max_tokens"]);
});

Deno.test("texts that stop a message, and one that says nothing", async () => {
  await using tiny = await tinyServer();
  const { messages } = clientOf(tiny);
  const greedy = { ...chat, temperature: 0, max_tokens: 12 };
  const { content: [first] } = await messages.create(greedy);
  assert.ok(first.type === "text");
  const word = first.text.split(" ")[2];
  const stopped = await messages.create({ ...greedy, stop_sequences: [word] });
  assert.deepEqual(
    [stopped.stop_reason, stopped.stop_sequence],
    ["stop_sequence", word],
  );
  assert.deepEqual(
    stopped.content.map((block) => "text" in block && block.text),
    [first.text.slice(0, first.text.indexOf(word))],
  );
  script(tiny.model, ["", ""]);
  const silent = await messages.create(chat);
  const streamed = await messages.stream(chat).finalMessage();
  for (const { content, stop_reason } of [silent, streamed]) {
    assert.deepEqual(content, [{ type: "text", text: "", citations: null }]);
    assert.equal(stop_reason, "end_turn");
  }
});

Deno.test("templates are told of thinking; systems come as blocks, without what differs each time", async () => {
  const told =
    "{{ enable_thinking }}|{{ reasoning_effort }}|{{ tools | length if tools }}|{{ messages[0].content }}";
  await using tiny = await tinyServer({ template: told });
  const said = script(tiny.model, []);
  const { messages } = clientOf(tiny);
  const billing = "x-anthropic-billing-header: cc_version=2.1.1; cch=0f3a2;";
  await messages.create({
    ...chat,
    tools,
    system: [
      { type: "text", text: billing },
      { type: "text", text: "Be kind.", cache_control: { type: "ephemeral" } },
      { type: "text", text: "Be brief." },
    ],
    thinking: { type: "enabled", budget_tokens: 1024 },
    metadata: { user_id: "someone" },
  });
  await messages.create({
    ...chat,
    tools,
    tool_choice: { type: "none" },
    system: `${billing}\nBe kind.`,
    thinking: { type: "disabled" },
    output_config: { effort: "low" },
  });
  assert.deepEqual(
    said.prompts.map((prompt) =>
      prompt.replace("<s>", "").split("\n\nYou can call tools")[0].trim()
    ),
    ["True||2|Be kind.\nBe brief.", "False|low||Be kind."],
  );
  assert.ok(!said.prompts[0].includes("null"), said.prompts[0]);
});

Deno.test("anthropic: errors are of its own classes, and in its form on all its paths", async () => {
  await using tiny = await tinyServer({ apiKeys: ["secret"] });
  const headers = { "x-api-key": "secret" };
  const error = async (response: Response) => {
    const { type, error } = await response.json();
    assert.equal(type, "error");
    return [response.status, error.type, error.message];
  };
  const post = (body: object, path = "/v1/messages", init = { headers }) =>
    tiny.post(path, body, init).then(error);
  const image = {
    type: "image",
    source: { type: "base64", media_type: "image/png", data: "" },
  };
  const asking = (content: unknown) => ({
    ...chat,
    messages: [{ role: "user", content }],
  });
  const result = { type: "tool_result", tool_use_id: "a", content: [image] };
  const { max_tokens: _, ...unlimited } = chat;
  for (
    const [body, message] of [
      [unlimited, /max_tokens is missing/],
      [{ ...chat, max_tokens: 0 }, /max_tokens 0: it is a whole number from 1/],
      [{ ...chat, messages: [] }, /messages .*one message at least/],
      [asking([image]), /messages\[0\]\.content\[0\], which is "image"/],
      [asking([result]), /content\[0\]\.content\[0\], which is "image"/],
      [asking([{ type: "tool_use" }]), /content\[0\], which is "tool_use"/],
      [
        asking([{ type: "tool_result" }]),
        /content\[0\]\.tool_use_id is missing/,
      ],
      [asking([{ type: "text" }]), /content\[0\]\.text is missing/],
      [{ ...chat, system: [image] }, /system\[0\], which is "image"/],
      [
        { ...chat, messages: [user, { role: "assistant", content: "So" }] },
        /the last message is the user's/,
      ],
      [
        {
          ...chat,
          tools: [{ type: "web_search_20250305", name: "web_search" }],
        },
        /tools\[0\]\.type: .* "web_search_20250305"/,
      ],
      [{ ...chat, tool_choice: { type: "any" } }, /the request has no tools/],
      [
        { ...chat, tools, tool_choice: { type: "tool", name: "other" } },
        /"other": the request has no such tool/,
      ],
      [{ ...chat, mcp_servers: [{ url: "http://a" }] }, /mcp_servers/],
    ] as const
  ) {
    const [status, type, said] = await post(body);
    assert.deepEqual([status, type], [400, "invalid_request_error"], said);
    assert.match(said, message);
  }
  assert.deepEqual(
    (await post(chat, "/v1/messages", { headers: { "x-api-key": "no" } }))
      .slice(0, 2),
    [401, "authentication_error"],
  );
  for (const path of ["/v1/messages/batches", "/v1/messages/other"]) {
    const [status, type] = await post(chat, path);
    assert.deepEqual([status, type], [404, "not_found_error"]);
  }
  const [status, type] = await post({}, "/v1/messages/count_tokens");
  assert.deepEqual([status, type], [400, "invalid_request_error"]);

  const { messages } = clientOf(tiny);
  await assert.rejects(messages.create(chat), Anthropic.AuthenticationError);
});

Deno.test("a prompt that is too long is refused in Anthropic's words, which its clients read", async () => {
  await using tiny = await tinyServer();
  const { contextSize } = tiny.model.engine;
  const messageOf = async (words: number) => {
    const content = "rain ".repeat(words);
    const response = await tiny.post("/v1/messages", {
      ...chat,
      messages: [{ role: "user", content }],
    });
    assert.equal(response.status, 400);
    const { error: { type, message } } = await response.json();
    assert.equal(type, "invalid_request_error");
    return message;
  };
  const [, tokens, most] = /^prompt is too long: (\d+) tokens > (\d+) maximum$/
    .exec(
      await messageOf(contextSize),
    )!;
  assert.ok(+tokens > +most);
  assert.equal(+most, contextSize - 1);
  // So long that its tokens are not counted.
  assert.match(await messageOf(100 * contextSize), /^prompt is too long: /);
});

Deno.test("anthropic: an error in a stream is an event of it, and an abort ends the work", async () => {
  await using tiny = await tinyServer();
  const { messages } = clientOf(tiny);
  const stream = messages.stream({ ...chat, max_tokens: 400, temperature: 1 });
  for await (const { type } of stream) {
    if (type === "content_block_delta") break;
  }
  stream.abort();
  const before = await messages.countTokens(chat);
  assert.ok(before.input_tokens > 0);
  tiny.model.generate = () => {
    throw new Error("a fault of this server");
  };
  const response = await tiny.post("/v1/messages", { ...chat, stream: true });
  const events = await eventsOf(response);
  assert.deepEqual(events.at(-1), {
    type: "error",
    error: {
      type: "api_error",
      message: "Cannot answer: an unexpected error",
    },
  });
  await tiny.server.stop();
  assert.ok(tiny.model.engine.stats().tokens < 300);
});
