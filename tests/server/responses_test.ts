/** Responses, by OpenAI's own client and by hand. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";
import { script } from "./scripted.ts";
import { type TinyServer, tinyServer } from "./tiny_server.ts";

const { template, calls: [call], two } = toolFamilies.hermes;
const thinking = `${template}{# <think> </think> #}`;
const asked = { model: "any", input: "Will it rain?" };
const rain = { city: "Oslo", days: 2 };
const tools = rainTools.map(({ function: { name, parameters } }) => ({
  type: "function" as const,
  name,
  description: name,
  parameters: parameters as Record<string, unknown>,
  strict: null as never,
}));

const clientOf = ({ server }: TinyServer) =>
  new OpenAI({
    apiKey: "none",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: (url, init) => server.fetch(new Request(url, init)),
  });

// deno-lint-ignore no-explicit-any -- what others sent
type Event = any;

/** The events of a stream, each named by its type, in the order of their numbers. */
async function eventsOf(response: Response): Promise<Event[]> {
  const text = await response.text();
  return text.trimEnd().split("\n\n").map((event, i) => {
    const [, name, data] = /^event: ([\w.]+)\ndata: (.+)$/.exec(event)!;
    const value = JSON.parse(data);
    assert.deepEqual([value.type, value.sequence_number], [name, i]);
    return value;
  });
}

Deno.test("openai: a response, whole and streamed", async () => {
  await using tiny = await tinyServer();
  const { responses } = clientOf(tiny);
  const greedy = { ...asked, temperature: 0, max_output_tokens: 12 };
  const whole = await responses.create({
    ...greedy,
    include: ["message.output_text.logprobs"],
    top_logprobs: 2,
    metadata: { for: "a test" },
  });
  assert.notEqual(whole.output_text, "");
  assert.deepEqual(
    [whole.status, whole.incomplete_details, whole.metadata],
    ["incomplete", { reason: "max_output_tokens" }, { for: "a test" }],
  );
  assert.deepEqual([whole.temperature, whole.top_logprobs], [0, 2]);
  const { usage } = whole;
  assert.equal(usage!.output_tokens, 12);
  assert.equal(usage!.total_tokens, usage!.input_tokens + 12);
  const [message] = whole.output;
  assert.ok(message.type === "message");
  const [part] = message.content;
  assert.ok(part.type === "output_text");
  assert.equal(part.logprobs!.length, 12);
  assert.equal(part.logprobs![0].top_logprobs.length, 2);

  const stream = responses.stream(greedy);
  let text = "";
  stream.on("response.output_text.delta", ({ delta }) => text += delta);
  const final = await stream.finalResponse();
  assert.deepEqual([text, final.output_text], [
    whole.output_text,
    whole.output_text,
  ]);
  assert.ok(final.usage!.input_tokens_details.cached_tokens > 0);
});

Deno.test("a response's events come in OpenAI's order, numbered", async () => {
  await using tiny = await tinyServer({ template: thinking });
  script(tiny.model, [`<think>Hm.</think>Look.\n${two}`]);
  const response = await tiny.post("/v1/responses", {
    ...asked,
    tools,
    stream: true,
  });
  const events = await eventsOf(response);
  const kinds = events.map(({ type, output_index }) =>
    `${type.replace("response.", "")} ${output_index ?? ""}`.trim()
  );
  const called = (index: number) => [
    `output_item.added ${index}`,
    `function_call_arguments.delta ${index}`,
    `function_call_arguments.done ${index}`,
    `output_item.done ${index}`,
  ];
  const said = (kind: string, index: number) => [
    `output_item.added ${index}`,
    `content_part.added ${index}`,
    `${kind}.delta ${index}`,
    `${kind}.done ${index}`,
    `content_part.done ${index}`,
    `output_item.done ${index}`,
  ];
  assert.deepEqual(kinds.filter((kind, i) => kind !== kinds[i - 1]), [
    "created",
    "in_progress",
    ...said("reasoning_text", 0),
    ...said("output_text", 1),
    ...called(2),
    ...called(3),
    "completed",
  ]);
  const { response: whole } = events.at(-1);
  const done = events.filter(({ type }) =>
    type === "response.output_item.done"
  );
  assert.deepEqual(whole.output, done.map(({ item }) => item));
  assert.equal(whole.id, events[0].response.id);
  const { output_tokens_details, output_tokens } = whole.usage;
  assert.ok(output_tokens_details.reasoning_tokens > 0);
  assert.ok(output_tokens_details.reasoning_tokens < output_tokens);
});

Deno.test("openai: responses call tools, and go on with what comes back", async () => {
  await using tiny = await tinyServer({ template: thinking });
  const { responses } = clientOf(tiny);
  const answer = `<think>\nI ask.\n</think>\n\nLook.\n${two}`;
  const said = script(tiny.model, [answer, answer, "It rains."]);
  const hosted = { type: "web_search" as const };
  const request = { ...asked, tools: [...tools, hosted] };
  const whole = await responses.create(request);
  const streamed = await responses.stream(request).finalResponse();
  for (const { output, tools, status } of [whole, streamed]) {
    assert.equal(status, "completed");
    // What a maker's servers would run is not there.
    assert.equal(tools.length, 2);
    assert.deepEqual(
      output.map((item) =>
        item.type === "reasoning"
          ? item.content![0].text
          : item.type === "message"
          ? item.content.map((part) => "text" in part && part.text)
          : item.type === "function_call"
          ? [item.name, JSON.parse(item.arguments)]
          : item
      ),
      ["I ask.", ["Look."], ["rain", rain], ["stop", {}]],
    );
  }
  const calls = whole.output.filter((item) => item.type === "function_call");
  const last = await responses.create({
    ...request,
    instructions: "Be kind.",
    input: [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [{ type: "input_text", text: "Will it?" }] },
      ...whole.output as OpenAI.Responses.ResponseInputItem[],
      ...calls.map(({ call_id, name }) => ({
        type: "function_call_output" as const,
        call_id,
        output: `${name} done`,
      })),
    ],
  });
  assert.equal(last.output_text, "It rains.");
  const prompt = said.prompts[2];
  assert.ok(prompt.includes(call), prompt);
  assert.ok(!prompt.includes("null"), prompt);
  assert.match(
    prompt,
    /Be kind\.\nBe brief\.[^]*Will it\?[^]*Look\.[^]*rain done[^]*stop done/,
  );
});

Deno.test("what the assistant does in several items is one turn, and labels of phases are no text", async () => {
  const written =
    "{% for message in messages %}[{{ message.role }}:{{ message.content }}]{% endfor %}";
  await using tiny = await tinyServer({ template: written });
  const said = script(tiny.model, []);
  await clientOf(tiny).responses.create({
    model: "any",
    input: [
      { role: "assistant", content: "I look.", phase: "commentary" },
      { role: "assistant", content: "Four.", phase: "final_answer" },
      { role: "user", content: "Go on." },
    ],
  });
  assert.deepEqual(
    said.prompts.map((prompt) => prompt.replace("<s>", "").trim()),
    ["[assistant:I look.\nFour.][user:Go on.]"],
  );
});

Deno.test("a response that says nothing has a message; one cut short an item that says so", async () => {
  await using tiny = await tinyServer({ template });
  script(tiny.model, ["", call]);
  const { responses } = clientOf(tiny);
  const silent = await responses.create(asked);
  assert.deepEqual([silent.status, silent.output_text], ["completed", ""]);
  assert.equal(silent.output.length, 1);
  const cut = await responses.create({
    ...asked,
    tools,
    max_output_tokens: 40,
  });
  const [item] = cut.output;
  assert.ok(item.type === "function_call");
  assert.deepEqual([cut.status, item.status], ["incomplete", "incomplete"]);
  assert.throws(() => JSON.parse(item.arguments), SyntaxError);
});

Deno.test("what is wrong with a response's request is said by the field's name", async () => {
  await using tiny = await tinyServer();
  const input = (item: object) => ({ ...asked, input: [item] });
  const image = { type: "input_image", image_url: "data:image/png;base64," };
  for (
    const [body, status, param] of [
      [{ input: "Hello" }, 400, "model"],
      [{ model: "any" }, 400, "input"],
      [{ ...asked, input: [] }, 400, "input"],
      [{ ...asked, store: true }, 501, "store"],
      [{ ...asked, background: true }, 501, "background"],
      [
        { ...asked, previous_response_id: "resp_1" },
        501,
        "previous_response_id",
      ],
      [{ ...asked, conversation: "conv_1" }, 501, "conversation"],
      [{ ...asked, max_output_tokens: 0 }, 400, "max_output_tokens"],
      [
        { ...asked, tools, tool_choice: { type: "web_search" } },
        501,
        "tool_choice.type",
      ],
      [
        { ...asked, tools, tool_choice: { type: "function", name: "other" } },
        400,
        "tool_choice",
      ],
      [
        input({ role: "user", content: [image] }),
        400,
        "input[0].content[0]",
      ],
      [input({ role: "user" }), 400, "input[0].content"],
      [input({ content: "Hello" }), 400, "input[0].role"],
      [input({ type: "item_reference", id: "msg_1" }), 501, "input[0].type"],
      [input({ type: "function_call" }), 400, "input[0].name"],
      [
        input({ type: "function_call_output", call_id: "a" }),
        400,
        "input[0].output",
      ],
    ] as const
  ) {
    const response = await tiny.post("/v1/responses", body);
    const { error } = await response.json();
    assert.deepEqual([response.status, error.param], [status, param]);
  }
  // What is asked for in vain may be false, or null.
  script(tiny.model, ["Yes."]);
  const fine = await tiny.post("/v1/responses", {
    ...asked,
    store: false,
    previous_response_id: null,
    background: false,
  });
  assert.equal((await fine.json()).status, "completed");
});

Deno.test("openai: a response that fails says so in its last event, and an abort ends the work", async () => {
  await using tiny = await tinyServer();
  const { responses } = clientOf(tiny);
  const stream = await responses.create({
    ...asked,
    max_output_tokens: 400,
    stream: true,
  });
  for await (const { type } of stream) {
    if (type === "response.output_text.delta") break;
  }
  tiny.model.generate = () => {
    throw new Error("a fault of this server");
  };
  const response = await tiny.post("/v1/responses", { ...asked, stream: true });
  const events = await eventsOf(response);
  const { type, response: failed } = events.at(-1);
  assert.deepEqual([type, failed.status, failed.error], [
    "response.failed",
    "failed",
    { code: "server_error", message: "Cannot answer: an unexpected error" },
  ]);
  await tiny.server.stop();
  assert.ok(tiny.model.engine.stats().tokens < 300);
});
