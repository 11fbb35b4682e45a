/** Whose fault it is that a request is refused, and how that is said. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { createServer } from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { tinyServer } from "./tiny_server.ts";

/** Lets no answer be late, which begins with status 200 whatever comes of it. */
function neverLate(): Disposable {
  const { setTimeout } = globalThis;
  const patient = (act: () => void, ms?: number) =>
    setTimeout(act, ms === 2000 ? 2 ** 30 : ms);
  globalThis.setTimeout = patient as typeof setTimeout;
  return { [Symbol.dispose]: () => globalThis.setTimeout = setTimeout };
}

const messages = [{ role: "user", content: "Tom" }];
const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);

Deno.test("what takes more than a text may is its request's fault, in every dialect", async () => {
  using _ = neverLate();
  await using tiny = await tinyServer();
  const rules = Array.from(
    { length: 40 },
    (_, i) => `r${i} ::= r${i + 1} r${i + 1}`,
  );
  const grammar = `root ::= r0\n${rules.join("\n")}\nr40 ::= "a" | ""`;
  for (
    const [path, body] of [
      ["/v1/chat/completions", { messages, grammar }],
      ["/v1/completions", { prompt: "Tom", stop: Array(257).fill("a") }],
      ["/v1/completions", { prompt: Array(20).fill("Tom"), n: 128 }],
      ["/completion", { prompt: "Tom", stop: ["a".repeat(70_000)] }],
      ["/completion", { prompt: "Tom", logit_bias: [["a".repeat(70_000), 1]] }],
      [
        "/v1/messages",
        { messages, max_tokens: 1, stop_sequences: Array(257).fill("a") },
      ],
      ["/completion", { prompt: "Tom", samplers: Array(65).fill("top_k") }],
      [
        "/completion",
        { prompt: "Tom", dry_sequence_breakers: Array(65).fill("a") },
      ],
      ["/apply-template", { messages: Array(513).fill(messages[0]) }],
      [
        "/v1/messages/count_tokens",
        { messages: Array(513).fill(messages[0]) },
      ],
      [
        "/v1/decisions",
        {
          prompt: "Tom ".repeat(400),
          questions: Array(64).fill({
            type: "number",
            min: 1,
            max: 99,
            ends: true,
          }),
        },
      ],
    ] as const
  ) {
    const response = await tiny.post(path, body);
    const { error } = await response.json();
    assert.equal(response.status, 400, `${path}: ${error.message}`);
    assert.match(error.type, /^(invalid_request|exceed_context_size)_error$/);
    assert.match(error.message, /\d/);
  }
});

Deno.test("that there is no memory for a request is not its fault, in every dialect", async () => {
  // Room for two pages.
  await using model = await load(tinyBamboo(), { threads: 0, cacheSize: 64 });
  await using server = createServer(model);
  const long = "Tom had a ball. ".repeat(30);
  const chat = [{ role: "user", content: long }];
  for (
    const [path, body] of [
      ["/v1/completions", { prompt: long }],
      ["/v1/completions", { prompt: long, echo: true, logprobs: 1 }],
      ["/completion", { prompt: long }],
      ["/v1/embeddings", { input: long }],
      [
        "/v1/decisions",
        { prompt: long, questions: [{ type: "boolean", ends: true }] },
      ],
      ["/v1/messages", { messages: chat, max_tokens: 1 }],
    ] as const
  ) {
    const url = `http://localhost${path}`;
    const response = await server.fetch(
      new Request(url, { method: "POST", body: JSON.stringify(body) }),
    );
    const { error } = await response.json();
    assert.equal(response.status, 503, `${path}: ${error.message}`);
    assert.match(error.message, /pages of keys and values/);
    assert.equal(response.headers.get("retry-after"), "1");
  }
});

Deno.test("a field of another kind is said in plain words", async () => {
  await using tiny = await tinyServer();
  const prompt = "Tom";
  const questions = (question: object) => ({ prompt, questions: [question] });
  const chat = (more: object) => ({ messages, ...more });
  for (
    const [path, body, message] of [
      [
        "/v1/completions",
        { prompt, stop: [1] },
        /^Cannot use stop a list: it is a text or a list of texts$/,
      ],
      [
        "/v1/completions",
        { prompt, samplers: [1] },
        /^Cannot use samplers a list: it is a list of names/,
      ],
      [
        "/completion",
        { prompt, logit_bias: [[[], 1]] },
        /^Cannot use logit_bias\[0\]\[0\] a list: it is an id or a text$/,
      ],
      [
        "/completion",
        { prompt, logit_bias: [[1, 1, 1]] },
        /logit_bias\[0\].* it is a pair/,
      ],
      [
        "/completion",
        { prompt, dry_sequence_breakers: [1] },
        /^Cannot use dry_sequence_breakers\[0\] 1: it is a text$/,
      ],
      [
        "/v1/decisions",
        questions({ type: "choice", choices: ["a", ""] }),
        /^Cannot use questions\[0\]\.choices\[1\] "": it is a text that is not empty$/,
      ],
      [
        "/v1/decisions",
        questions({ type: "choice", choices: [1] }),
        /choices\[0\] 1: it is a text$/,
      ],
      [
        "/v1/messages",
        { messages, max_tokens: 1, stop_sequences: [1] },
        /^Cannot use stop_sequences\[0\] 1: it is a text$/,
      ],
      ["/v1/messages", {
        messages: [{ role: "user", content: [1] }],
        max_tokens: 1,
      }, /content\[0\] 1: it is an object \{ type, … \}$/],
      [
        "/v1/responses",
        { model: "a", input: [{ content: [5] }] },
        /content\[0\] 5: it is an object \{ type, text \}$/,
      ],
      [
        "/v1/responses",
        { model: "a", input: [5] },
        /^Cannot use input\[0\] 5: it is an object \{ type, … \}$/,
      ],
      [
        "/v1/responses",
        { model: "a", input: "a", include: [1] },
        /^Cannot use include\[0\] 1: it is a text$/,
      ],
      [
        "/v1/completions",
        { prompt, stream_options: [] },
        /^Cannot use stream_options a list: it is an object$/,
      ],
      [
        "/v1/responses",
        { model: "a", input: "a", text: [] },
        /^Cannot use text a list: it is an object \{ format \}$/,
      ],
      [
        "/v1/responses",
        { model: "a", input: "a", reasoning: [] },
        /^Cannot use reasoning a list: it is an object \{ effort \}$/,
      ],
      [
        "/v1/messages",
        { messages, max_tokens: 1, output_config: [] },
        /^Cannot use output_config a list: it is an object$/,
      ],
      [
        "/v1/chat/completions",
        chat({ response_format: { type: "json_schema", json_schema: [] } }),
        /json_schema a list: it is an object \{ schema \}$/,
      ],
      [
        "/v1/chat/completions",
        chat({ json_schema: [] }),
        /^Cannot use json_schema a list: it is a JSON schema: an object, true or false$/,
      ],
      [
        "/v1/chat/completions",
        chat({ tools: [{ type: {} }] }),
        /^Cannot use tools\[0\]\.type an object: it is a text such as function$/,
      ],
      [
        "/v1/chat/completions",
        chat({
          tool_choice: { type: {} },
          tools: [{ type: "function", function: { name: "f" } }],
        }),
        /tool_choice an object: it is auto, none, required, or an object \{ type, function \}$/,
      ],
    ] as const
  ) {
    const response = await tiny.post(path, body);
    const { error } = await response.json();
    assert.match(error.message, message);
  }
});

Deno.test("a schema that is none is a 400, and one that is not supported a 501", async () => {
  await using tiny = await tinyServer();
  for (
    const [json_schema, status] of [
      [{ type: "thing" }, 400],
      [{ pattern: "a(" }, 400],
      [{ pattern: "(?=a)" }, 501],
      [{ not: {} }, 501],
    ] as const
  ) {
    const body = { messages, json_schema };
    const response = await tiny.post("/v1/chat/completions", body);
    await response.body!.cancel();
    assert.equal(response.status, status, JSON.stringify(json_schema));
  }
});

Deno.test("a body of too much is refused by both numbers", async () => {
  await using tiny = await tinyServer();
  for (
    const [body, message] of [
      [
        `{"tokens":[${"1,".repeat(2 ** 20)}1]}`,
        /has 1048578 values, the limit is 1048576$/,
      ],
      [`{"tokens":${nested(512)}}`, /has 513 levels, the limit is 512$/],
      [
        `{"tokens":[${"[],".repeat(2 ** 16)}1]}`,
        /has 65538 lists and objects, the limit is 65536$/,
      ],
    ] as const
  ) {
    const response = await tiny.post("/detokenize", body);
    const { error } = await response.json();
    assert.equal(response.status, 413);
    assert.match(error.message, message);
  }
  // What stands in a text is no value.
  const content = `"\\",[{`.repeat(10_000);
  const response = await tiny.post("/tokenize", { content });
  assert.equal(response.status, 200);
  await response.body!.cancel();
});

Deno.test("others are answered while a long list of ids becomes a text", async () => {
  await using tiny = await tinyServer();
  let isDone = false;
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const { tokenizer } = tiny.model;
  const pieceBytes = tokenizer.pieceBytes.bind(tokenizer);
  tokenizer.pieceBytes = (id) => {
    begin();
    return pieceBytes(id);
  };
  const tokens = Array<number>(400_000).fill(300);
  const long = tiny.post("/detokenize", { tokens }).then((response) => {
    isDone = true;
    return response.json();
  });
  await begun;
  const health = await tiny.get("/health");
  assert.equal(health.status, 200);
  assert.equal(isDone, false);
  await health.body!.cancel();
  const { content } = await long;
  assert.equal(content.trim(), tokenizer.decode(tokens).trim());
});

Deno.test("requests that are no HTTP of anybody's are refused by a 400, and no error is reported", async (t) => {
  const told: unknown[] = [];
  await using tiny = await tinyServer({ onError: (error) => told.push(error) });
  const { fetch } = tiny.server;
  const socket = { hostname: "127.0.0.1", port: 0, onListen() {} };
  await using net = Deno.serve(socket, (request, from) => {
    const { hostname } = from.remoteAddr as Deno.NetAddr;
    return fetch(request, { remoteAddr: { hostname } });
  });
  const { port } = net.addr;
  const post = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\n";
  const cases: [name: string, text: string, isAnswered?: boolean][] = [
    ["a host that is none", "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n"],
    [
      "a port that is none",
      "GET /health HTTP/1.1\r\nHost: localhost:99999\r\n\r\n",
    ],
    ["half an address", "GET /health HTTP/1.1\r\nHost: [\r\n\r\n"],
    [
      "a target that is no URL",
      "GET http://[/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    [
      "a chunk without a length",
      `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
      false,
    ],
    [
      "a chunk that is longer",
      `${post}Transfer-Encoding: chunked\r\n\r\n5\r\n{"content":1}\r\n`,
      false,
    ],
  ];
  for (const [name, text, isAnswered = true] of cases) {
    await t.step(name, async () => {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await connection.write(new TextEncoder().encode(text));
      const bytes = new Uint8Array(4096);
      const count = await connection.read(bytes) ?? 0;
      const answer = new TextDecoder().decode(bytes.subarray(0, count));
      // Where a body is none, HTTP ends the connection.
      assert.match(answer, isAnswered ? /^HTTP\/1\.1 400 / : /^$/);
    });
  }
  await net.shutdown();
  await t.step("a body that breaks off", async () => {
    const body = new ReadableStream({
      pull: (to) => to.error(new TypeError()),
    });
    const response = await tiny.post("/tokenize", "", { body });
    const { error } = await response.json();
    assert.equal(response.status, 400);
    assert.match(error.message, /it breaks off, or its chunks are malformed$/);
  });
  assert.deepEqual(told, []);
});
