import assert from "node:assert/strict";
import fc from "fast-check";
import { tinyServer } from "./tiny_server.ts";

/** How many requests are sent. */
const requests = 10_000;

/** JSON in so many lists. */
const nested = (levels: number) =>
  JSON.parse("[".repeat(levels) + "]".repeat(levels));

/** Whatever JSON may hold, and what a text of it may. */
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(
    ...["", "\ud800", "<|im_start|>", "a".repeat(20_000), "\0"],
    ...[1e308, -1, 0.5, 2 ** 53, -0, 1e-320],
    ...[null, true, [], {}, [[]], [{}], [null], [""], { type: 1 }],
    ...[{ type: "x" }, [{ type: "x" }], nested(100), nested(600)],
  ),
  fc.string({ unit: "binary" }),
);

const part = fc.oneof(
  anything,
  fc.record({
    type: fc.oneof(
      anything,
      fc.constantFrom(
        ...["text", "input_text", "output_text", "image_url", "thinking"],
        ...["tool_use", "tool_result", "refusal"],
      ),
    ),
    text: anything,
    content: anything,
    id: anything,
    name: anything,
    input: anything,
    tool_use_id: anything,
  }, { requiredKeys: ["type"] }),
);

const message = fc.oneof(
  anything,
  fc.record({ role: anything, content: anything }),
  fc.record({
    type: fc.constantFrom(
      ...["message", "function_call", "function_call_output", "reasoning"],
    ),
    role: fc.constantFrom("user", "system", "assistant", "tool", "developer"),
    content: fc.oneof(anything, fc.array(part, { maxLength: 3 })),
    output: anything,
    arguments: anything,
    call_id: anything,
    tool_calls: anything,
    reasoning_content: anything,
  }, { requiredKeys: ["role", "content"] }),
);

const tool = fc.record({
  type: fc.oneof(anything, fc.constant("function")),
  name: anything,
  function: fc.oneof(
    anything,
    fc.record({ name: anything, parameters: anything, description: anything }),
  ),
  input_schema: anything,
}, { requiredKeys: ["type"] });

const question = fc.record({
  type: fc.constantFrom("boolean", "choice", "number"),
  choices: anything,
  min: anything,
  max: anything,
  step: anything,
  id: anything,
  ends: anything,
  question: anything,
}, { requiredKeys: ["type"] });

/** A field with another inside of it. */
const holder = (names: readonly string[]) =>
  fc.dictionary(fc.constantFrom(...names), anything, { maxKeys: 3 });

/** What fields are, beside anything. */
const kinds: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  messages: fc.array(message, { maxLength: 3 }),
  input: fc.array(message, { maxLength: 3 }),
  system: fc.array(part, { maxLength: 2 }),
  tools: fc.array(tool, { maxLength: 3 }),
  tool_choice: holder(["type", "name", "function", "mode", "tools"]),
  questions: fc.array(question, { maxLength: 3 }),
  stream_options: holder(["include_usage"]),
  response_format: holder(["type", "json_schema", "schema"]),
  text: holder(["format"]),
  reasoning: holder(["effort", "summary"]),
  output_config: holder(["effort", "format"]),
  thinking: holder(["type", "budget_tokens"]),
  json_schema: holder(
    ["type", "enum", "required", "minItems", "pattern", "$ref", "items"],
  ),
  logit_bias: fc.array(fc.array(anything, { maxLength: 3 }), { maxLength: 2 }),
  input_extra: fc.array(holder(["text", "filename"]), { maxLength: 2 }),
  prompt: holder(["prompt_string", "multimodal_data"]),
};

const sampling = [
  ...["temperature", "top_p", "top_k", "min_p", "seed", "samplers"],
  ...["presence_penalty", "repeat_penalty", "logit_bias", "ignore_eos"],
  ...["dry_multiplier", "dry_sequence_breakers"],
];
const chat = [
  ...["messages", "tools", "tool_choice", "parallel_tool_calls"],
  ...["reasoning_effort", "reasoning_format", "chat_template_kwargs"],
  ...["add_generation_prompt", "continue_final_message", "model"],
];
const said = ["response_format", "json_schema", "grammar"];
const texts = [
  ...["n", "stop", "stream", "stream_options", "logprobs", "model"],
  ...sampling,
];
const llama = [
  ...["n_probs", "post_sampling_probs", "stop", "stream", "cache_prompt"],
  ...["return_tokens", "response_fields", "json_schema", "grammar", "model"],
  ...sampling,
];
const anthropic = [
  ...["messages", "system", "tools", "tool_choice", "thinking", "model"],
  ...["output_config", "mcp_servers", "top_k", "temperature"],
];

const user = [{ role: "user", content: "Tom" }];
const one = { max_tokens: 1, n_predict: 1, max_completion_tokens: 1 };

/** By path: what is answered as it stands, and the fields that are known. */
const routes: Readonly<
  Record<string, readonly [body: object, fields: readonly string[]]>
> = {
  "/v1/chat/completions": [
    { messages: user, ...one },
    [...chat, ...said, ...texts, "top_logprobs"],
  ],
  "/v1/chat/completions/input_tokens": [{ messages: user }, chat],
  "/apply-template": [{ messages: user }, chat],
  "/v1/responses": [
    { model: "any", input: "Tom", max_output_tokens: 1 },
    [
      ...["input", "instructions", "tools", "tool_choice", "text", "model"],
      ...["reasoning", "include", "top_logprobs", "metadata", "conversation"],
      ...["prompt", "store", "background", "stream", ...sampling],
    ],
  ],
  "/v1/messages": [
    { messages: user, max_tokens: 1 },
    [...anthropic, "stop_sequences", "stream"],
  ],
  "/v1/messages/count_tokens": [{ messages: user }, anthropic],
  "/v1/completions": [
    { prompt: "Tom", ...one },
    [...texts, ...said, "prompt", "echo", "suffix", "best_of"],
  ],
  "/completion": [{ prompt: "Tom", ...one }, [...llama, "prompt"]],
  "/infill": [
    { input_prefix: "Tom", input_suffix: "", ...one },
    [...llama, "input_prefix", "input_suffix", "input_extra", "prompt"],
  ],
  "/v1/embeddings": [
    { input: "Tom" },
    ["input", "model", "encoding_format", "dimensions"],
  ],
  "/embedding": [{ content: "Tom" }, ["content", "embd_normalize", "model"]],
  "/tokenize": [
    { content: "Tom" },
    ["content", "prompt", "add_special", "parse_special", "with_pieces"],
  ],
  "/detokenize": [{ tokens: [5] }, ["tokens", "model"]],
  "/v1/decisions": [
    {
      prompt: "Tom",
      questions: [{ type: "choice", choices: [" a", " the"] }],
    },
    ["messages", "prompt", "questions", "chat_template_kwargs", "model"],
  ],
  "/models/load": [{ model: "any" }, ["model"]],
  "/models/unload": [{ model: "any" }, ["model"]],
};

const path = fc.constantFrom(...Object.keys(routes));

/** A request: where to, and what beside that. */
type Sent = readonly [path: string, init: RequestInit];

/** Bodies with fields that are something else. */
const changed: fc.Arbitrary<Sent> = path.chain((path) => {
  const [body, fields] = routes[path];
  const field = fc.constantFrom(...fields).chain((name) =>
    fc.tuple(
      fc.constant(name),
      Object.hasOwn(kinds, name) ? fc.oneof(anything, kinds[name]) : anything,
    )
  );
  return fc.array(field, { minLength: 1, maxLength: 3 }).map((changes) => {
    const whole = { ...body, ...Object.fromEntries(changes) };
    return [path, { method: "POST", body: JSON.stringify(whole) }];
  });
});

/** Bodies that are no JSON, or not UTF-8. */
const broken: fc.Arbitrary<Sent> = fc.tuple(
  path,
  fc.oneof(
    fc.string({ unit: "binary" }),
    fc.uint8Array({ maxLength: 64 }).map((bytes) => new Uint8Array(bytes)),
    fc.constantFrom('{"a":"\xff', "{", '"', "[[[", '{"prompt":1e999}', "nul"),
    path.map((path) => JSON.stringify(routes[path][0]).slice(0, -2)),
  ),
).map(([path, body]) => [path, { method: "POST", body }]);

/** Routes and methods that are not there, and headers of another kind. */
const astray: fc.Arbitrary<Sent> = fc.tuple(
  fc.oneof(
    path,
    fc.constantFrom(
      ...["/v1/models/none", "/v1/neurons?buckets=-1", "/assets/none"],
      ...["/v1/messages/none", "/%ff", "/v1/models/%E0%A4%A", "//", "/v1"],
    ),
    fc.string({ unit: "binary" }).map((text) =>
      `/v1/${encodeURIComponent(text.toWellFormed())}`
    ),
  ),
  fc.constantFrom("GET", "PUT", "PATCH", "DELETE", "POST"),
  fc.constantFrom(
    ...["content-type", "accept", "authorization", "origin", "if-none-match"],
    ...["content-length", "content-encoding", "x-api-key", "range"],
  ),
  fc.constantFrom("", "null", "text/plain", "a,b;c=", "-1", "gzip", "\xff"),
).map(([path, method, name, value]) => [path, {
  method,
  headers: { [name]: value },
  ...method !== "GET" && { body: '{"none":' },
}]);

const request = fc.oneof(
  { weight: 14, arbitrary: changed },
  { weight: 3, arbitrary: broken },
  { weight: 3, arbitrary: astray },
);

/** What no client should read: valibot's words, V8's, and values that were not meant to be read. */
const raw = /Expected .* received|\n|\[object |undefined|NoExtension/;

Deno.test("no request is too malformed for a typed error, and the next is answered as before", async () => {
  const told: unknown[] = [];
  await using tiny = await tinyServer({ onError: (error) => told.push(error) });
  const tokens = async () => {
    const response = await tiny.post("/completion", {
      prompt: "Tom had",
      n_predict: 12,
      seed: 7,
      return_tokens: true,
    });
    return (await response.json()).tokens;
  };
  const before = await tokens();
  const refused = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(request, async ([path, init]) => {
      const url = `http://localhost${path}`;
      const response = await tiny.server.fetch(new Request(url, init));
      const { status } = response;
      const text = await response.text();
      const said = `${status}: ${text.slice(0, 1000)}`;
      const isAnthropic = path.startsWith("/v1/messages");
      const known = [400, 403, 404, 413, ...isAnthropic ? [] : [501]];
      if (status === 200) {
        assert.doesNotMatch(text, /"error":(?!null)/);
        return;
      }
      assert.ok(known.includes(status), said);
      const { type, error } = JSON.parse(text);
      assert.equal(type, isAnthropic ? "error" : undefined, said);
      assert.match(error.message, /^[A-Z].{5}/, said);
      assert.match(error.type, /^[a-z_]+$/, said);
      assert.doesNotMatch(error.message, raw, said);
      assert.ok(error.message.length < 500, said);
      refused.set(path, (refused.get(path) ?? 0) + 1);
    }),
    { numRuns: requests, seed: 20_26 },
  );
  assert.deepEqual(told, []);
  const count = refused.values().reduce((sum, count) => sum + count, 0);
  // What is changed may be right by chance, or null, which is absent.
  assert.ok(count > 0.6 * requests, `${count} of ${requests} were refused`);
  for (const path of Object.keys(routes)) {
    assert.ok(refused.get(path)! > 100, `${path}: ${refused.get(path)}`);
  }
  assert.equal(tiny.model.engine.pagesTaken, 0);
  assert.deepEqual(await tokens(), before);
});
