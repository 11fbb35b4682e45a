import assert from "node:assert/strict";
import { chunksOf, tinyServer } from "./tiny_server.ts";

const tools = [{ type: "function", function: { name: "rain" } }];
const messages = [{ role: "user", content: "Tell me a story." }];
const greedy = { messages, temperature: 0, max_tokens: 12 };

Deno.test("a chat's answer is what the library writes, whole and streamed", async () => {
  await using tiny = await tinyServer({ aliases: ["tiny"] });
  const expected = await Array.fromAsync(
    tiny.model.chat(messages, { temperature: 0, maxTokens: 12 }),
  );
  const text = expected.map((piece) => piece.text).join("");
  assert.notEqual(text, "");

  const response = await tiny.post("/v1/chat/completions", greedy);
  assert.equal(response.status, 200);
  const whole = await response.json();
  assert.match(whole.id, /^chatcmpl-/);
  assert.equal(whole.object, "chat.completion");
  assert.equal(whole.model, "tiny");
  assert.equal(whole.system_fingerprint, `backend: ${tiny.model.backend}`);
  assert.deepEqual(whole.choices, [{
    index: 0,
    message: {
      role: "assistant",
      content: text,
      refusal: null,
      annotations: [],
    },
    logprobs: null,
    finish_reason: "length",
  }]);
  const prompt = tiny.model.tokenizeChat(messages).length;
  const { prompt_tokens_details, ...usage } = whole.usage;
  assert.deepEqual(usage, {
    prompt_tokens: prompt,
    completion_tokens: 12,
    total_tokens: prompt + 12,
  });
  const { cached_tokens } = prompt_tokens_details;
  const { cache_n, prompt_n, predicted_n, ...timings } = whole.timings;
  assert.deepEqual([cache_n, cache_n + prompt_n, predicted_n], [
    cached_tokens,
    prompt,
    12,
  ]);
  assert.ok(timings.neurons_read > 0 && timings.neurons_skipped > 0);

  const streamed = await tiny.post("/v1/chat/completions", {
    ...greedy,
    stream: true,
    stream_options: { include_usage: true },
  });
  assert.match(streamed.headers.get("content-type")!, /^text\/event-stream/);
  const chunks = await chunksOf(streamed);
  const usageChunk = chunks.pop();
  assert.deepEqual(usageChunk.choices, []);
  assert.equal(usageChunk.usage.completion_tokens, 12);
  assert.equal(usageChunk.timings.predicted_n, 12);
  assert.deepEqual(chunks[0].choices[0].delta, {
    role: "assistant",
    content: null,
  });
  const last = chunks.at(-1);
  assert.deepEqual(last.choices[0].delta, {});
  assert.equal(last.choices[0].finish_reason, "length");
  assert.equal(last.timings.predicted_n, 12);
  const parts = chunks.slice(1, -1).map(({ choices, usage }) => {
    assert.equal(usage, null);
    assert.deepEqual(Object.keys(choices[0].delta), ["content"]);
    assert.equal(choices[0].finish_reason, null);
    return choices[0].delta.content;
  });
  assert.equal(parts.join(""), text);
});

Deno.test("several choices are several texts, the same for the same seed, and their prompt is evaluated once", async () => {
  await using tiny = await tinyServer();
  const content = "Tell me a story of a cat. ".repeat(20);
  const messages = [{ role: "user", content }];
  const body = { messages, n: 3, seed: 7, max_tokens: 16 };
  const before = tiny.model.engine.stats().tokens;
  const first = await (await tiny.post("/v1/chat/completions", body)).json();
  const evaluated = tiny.model.engine.stats().tokens - before;
  const texts = first.choices.map((
    { message }: { message: { content: string } },
  ) => message.content);
  assert.equal(new Set(texts).size, 3);
  const prompt = tiny.model.tokenizeChat(messages).length;
  const { completion_tokens } = first.usage;
  // Drafts may be evaluated beside them.
  assert(evaluated < 1.5 * (prompt - 1) + completion_tokens);

  const again = await chunksOf(
    await tiny.post("/v1/chat/completions", { ...body, stream: true }),
  );
  const streamed = ["", "", ""];
  for (const { choices: [{ index, delta }] } of again) {
    streamed[index] += delta.content ?? "";
  }
  assert.deepEqual(streamed, texts);
  // The first of them is the text that is written alone.
  const alone = await tiny.post("/v1/chat/completions", { ...body, n: 1 });
  assert.equal((await alone.json()).choices[0].message.content, texts[0]);
});

Deno.test("log-probabilities come with the tokens of a chat, the same ones streamed", async () => {
  await using tiny = await tinyServer();
  const body = { ...greedy, logprobs: true, top_logprobs: 3 };
  const whole = await (await tiny.post("/v1/chat/completions", body)).json();
  const { content } = whole.choices[0].logprobs;
  assert.equal(content.length, 12);
  for (const { token, logprob, bytes, top_logprobs } of content) {
    assert.equal(top_logprobs.length, 3);
    // Greedy: the likeliest, to the last bit.
    assert.equal(top_logprobs[0].logprob, logprob);
    assert.equal(top_logprobs[0].token, token);
    assert.equal(new TextDecoder().decode(new Uint8Array(bytes)), token);
  }
  const chunks = await chunksOf(
    await tiny.post("/v1/chat/completions", { ...body, stream: true }),
  );
  const streamed = chunks.flatMap(({ choices: [{ logprobs }] }) =>
    logprobs?.content ?? []
  );
  assert.deepEqual(streamed, content);
});

Deno.test("a stop string ends a chat, and is no part of it", async () => {
  await using tiny = await tinyServer();
  const whole = await (await tiny.post("/v1/chat/completions", greedy)).json();
  const text = whole.choices[0].message.content;
  const stop = text.slice(6, 10);
  const stopped = await tiny.post("/v1/chat/completions", {
    ...greedy,
    stop: ["", stop],
  });
  const [choice] = (await stopped.json()).choices;
  assert.equal(choice.message.content, text.slice(0, text.indexOf(stop)));
  assert.equal(choice.finish_reason, "stop");
});

Deno.test("null is absent, other fields are ignored, and content comes in parts", async () => {
  await using tiny = await tinyServer();
  const plain = await (await tiny.post("/v1/chat/completions", greedy)).json();
  const developer = { role: "developer", content: "Be kind." };
  const odd = await tiny.post("/v1/chat/completions", {
    ...greedy,
    messages: [{
      role: "user",
      content: [{ type: "text", text: "Tell me a story." }],
    }],
    top_p: null,
    n: null,
    stop: null,
    stream: null,
    stream_options: null,
    max_completion_tokens: 12,
    max_tokens: null,
    tools: [],
    response_format: { type: "text" },
    user: "somebody",
    store: true,
    metadata: { a: 1 },
  });
  const body = await odd.json();
  assert.equal(odd.status, 200, JSON.stringify(body));
  assert.deepEqual(body.choices, plain.choices);
  const told = async (role: string) => {
    const response = await tiny.post("/v1/chat/completions", {
      ...greedy,
      messages: [{ ...developer, role }, ...messages],
    });
    return (await response.json()).choices;
  };
  assert.deepEqual(await told("developer"), await told("system"));
});

Deno.test("what is wrong with a chat is said by the field's name", async (t) => {
  await using tiny = await tinyServer();
  const cases: [name: string, body: unknown, status: number, param: unknown][] =
    [
      ["no JSON", "{", 400, null],
      ["no object", [], 400, null],
      ["no messages", {}, 400, "messages"],
      ["empty messages", { messages: [] }, 400, "messages"],
      ["no role", { messages: [{ content: "" }] }, 400, "messages[0].role"],
      [
        "content of another type",
        { messages: [{ role: "user", content: 1 }] },
        400,
        "messages[0].content",
      ],
      [
        "an image",
        {
          messages: [{
            role: "user",
            content: [{ type: "image_url", image_url: { url: "data:," } }],
          }],
        },
        400,
        "messages[0].content[0]",
      ],
      ["temperature", { messages, temperature: "hot" }, 400, "temperature"],
      ["top_p", { messages, top_p: 2 }, 400, "top_p"],
      ["seed", { messages, seed: 0.5 }, 400, "seed"],
      ["n", { messages, n: 0 }, 400, "n"],
      ["max_tokens", { messages, max_tokens: "8" }, 400, "max_tokens"],
      ["stop", { messages, stop: 3 }, 400, "stop"],
      ["stream", { messages, stream: "yes" }, 400, "stream"],
      ["logprobs", { messages, logprobs: 1 }, 400, "logprobs"],
      ["top_logprobs", { messages, top_logprobs: 2 }, 400, "top_logprobs"],
      ["logit_bias", { messages, logit_bias: { a: "b" } }, 400, "logit_bias.a"],
      ["biased token", { messages, logit_bias: { 99999: 1 } }, 400, null],
      ["tools", { messages, tools: [{}] }, 400, "tools[0].type"],
      [
        "a tool that is no function",
        { messages, tools: [{ type: "web_search" }] },
        501,
        "tools[0].type",
      ],
      [
        "a tool without a name",
        { messages, tools: [{ type: "function", function: {} }] },
        400,
        "tools[0].function.name",
      ],
      ["tool_choice", { messages, tool_choice: "all" }, 400, "tool_choice"],
      [
        "a choice of no tools",
        { messages, tool_choice: "required" },
        400,
        "tool_choice",
      ],
      [
        "a choice that is no tool",
        {
          messages,
          tools,
          tool_choice: { type: "function", function: { name: "snow" } },
        },
        400,
        "tool_choice",
      ],
      [
        "a call without arguments that are JSON",
        {
          messages: [{
            role: "assistant",
            tool_calls: [{ function: { name: "rain", arguments: 7 } }],
          }],
        },
        400,
        null,
      ],
      [
        "response_format",
        { messages, response_format: { type: "xml" } },
        400,
        "response_format.type",
      ],
      [
        "no schema",
        { messages, response_format: { type: "json_schema" } },
        400,
        "response_format.json_schema.schema",
      ],
      [
        "two formats",
        { messages, json_schema: {}, grammar: 'root ::= "a"' },
        400,
        "grammar",
      ],
      ["a schema", { messages, json_schema: 7 }, 400, "json_schema"],
      ["not supported", { messages, json_schema: { not: {} } }, 501, null],
      ["a grammar", { messages, grammar: "root ::= (" }, 400, null],
      [
        "a grammar and tools",
        { messages, tools, grammar: 'root ::= "a"' },
        400,
        null,
      ],
    ];
  for (const [name, body, status, param] of cases) {
    await t.step(name, async () => {
      const response = await tiny.post("/v1/chat/completions", body);
      const { error } = await response.json();
      assert.deepEqual(
        [response.status, error.code, error.param],
        [status, status, param],
        error.message,
      );
      const type = status === 400
        ? "invalid_request_error"
        : "not_supported_error";
      assert.equal(error.type, type);
      assert.match(error.message, /^Cannot /);
    });
  }
});

Deno.test("a prompt that does not fit the context is refused with both numbers", async () => {
  await using tiny = await tinyServer();
  const content = "Tom had a red ball. ".repeat(200);
  const response = await tiny.post("/v1/chat/completions", {
    messages: [{ role: "user", content }],
    stream: true,
  });
  assert.equal(response.status, 400);
  const { error } = await response.json();
  assert.equal(error.type, "exceed_context_size_error");
  assert.equal(error.code, "context_length_exceeded");
  assert.equal(error.n_ctx, tiny.model.engine.contextSize);
  const turns = [{ role: "user", content }];
  assert.equal(error.n_prompt_tokens, tiny.model.tokenizeChat(turns).length);
});

Deno.test("a prompt that is refused before its tokens are counted is told with the fewest it may have", async () => {
  await using tiny = await tinyServer();
  const { contextSize } = tiny.model.engine;
  const long = "Tom had a red ball. ".repeat(10_000);
  const refusals: [message: RegExp, messages: object[]][] = [
    [/Cannot tokenize/, [{ role: "user", content: long }]],
    [
      /Cannot read/,
      Array(contextSize + 1).fill({ role: "user", content: "a" }),
    ],
  ];
  for (const [message, messages] of refusals) {
    const response = await tiny.post("/v1/chat/completions", { messages });
    assert.equal(response.status, 400);
    const { error } = await response.json();
    assert.match(error.message, message);
    assert.equal(error.type, "exceed_context_size_error");
    assert.equal(error.n_ctx, contextSize);
    const { n_prompt_tokens } = error;
    assert.ok(n_prompt_tokens > contextSize, `${n_prompt_tokens}`);
    assert.ok(n_prompt_tokens <= tiny.model.tokenize(long).length);
  }
});
