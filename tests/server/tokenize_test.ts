import assert from "node:assert/strict";
import { tinyServer } from "./tiny_server.ts";

const text = "Lily went home.";

Deno.test("llama.cpp's and vLLM's clients have their own names for a text", async () => {
  await using tiny = await tinyServer();
  const { tokenizer } = tiny.model;
  const ids = tokenizer.encode(text), bare = ids.slice(1);
  assert.equal(ids[0], tokenizer.bos);
  const cases: [body: object, tokens: number[]][] = [
    [{ content: text }, bare],
    [{ content: text, add_special: true }, ids],
    [{ prompt: text }, ids],
    [{ prompt: text, add_special_tokens: false }, bare],
  ];
  for (const [body, tokens] of cases) {
    const told = await (await tiny.post("/tokenize", body)).json();
    assert.deepEqual(told.tokens, tokens);
    assert.equal(told.count, tokens.length);
  }
  const back = await tiny.post("/detokenize", { tokens: bare });
  assert.deepEqual(await back.json(), { content: text, prompt: text });
  const whole = await tiny.post("/detokenize", { tokens: ids });
  const bos = tokenizer.pieceText(tokenizer.bos!);
  assert.equal((await whole.json()).content, `${bos} ${text}`);
});

Deno.test("pieces are texts, or bytes where they are a part of a character", async () => {
  await using tiny = await tinyServer();
  const response = await tiny.post("/tokenize", {
    content: "a\u{1F600}",
    with_pieces: true,
  });
  const { tokens } = await response.json();
  const bytes = tokens.flatMap(({ piece }: { piece: string | number[] }) =>
    typeof piece === "string" ? [...new TextEncoder().encode(piece)] : piece
  );
  assert.equal(
    new TextDecoder().decode(new Uint8Array(bytes)).trim(),
    "a\u{1F600}",
  );
  assert.ok(
    tokens.some(({ piece }: { piece: unknown }) => Array.isArray(piece)),
  );
});

Deno.test("special tokens are told by name, and read as one id each", async () => {
  await using tiny = await tinyServer();
  const { tokenizer } = tiny.model;
  const info = await (await tiny.get("/tokenizer_info")).json();
  assert.equal(info.eos_token, tokenizer.pieceText(tokenizer.eos!));
  assert.equal(info.bos_token, tokenizer.pieceText(tokenizer.bos!));
  const told = await tiny.post("/tokenize", {
    prompt: info.eos_token,
    add_special_tokens: false,
  });
  assert.deepEqual((await told.json()).tokens, [tokenizer.eos]);
  const spelled = await tiny.post("/tokenize", {
    content: info.eos_token,
    parse_special: false,
  });
  assert.notDeepEqual((await spelled.json()).tokens, [tokenizer.eos]);
});

Deno.test("what cannot be tokenized is said by the field's name", async () => {
  await using tiny = await tinyServer();
  for (
    const [path, body, param] of [
      ["/tokenize", {}, "content"],
      ["/tokenize", { content: 1 }, "content"],
      ["/detokenize", {}, "tokens"],
      ["/detokenize", { tokens: ["a"] }, "tokens[0]"],
      ["/detokenize", { tokens: [-1] }, null],
    ] as const
  ) {
    const response = await tiny.post(path, body);
    const { error } = await response.json();
    assert.deepEqual([response.status, error.param], [400, param]);
  }
});

Deno.test("a text that would keep others waiting is refused by its length alone", async () => {
  await using tiny = await tinyServer();
  const content = " ".repeat(2 ** 20);
  const start = performance.now();
  const cases: [path: string, body: object, status: number][] = [
    ["/tokenize", { content }, 413],
    ["/v1/completions", { prompt: content }, 400],
    ["/v1/chat/completions", { messages: [{ role: "user", content }] }, 400],
  ];
  for (const [path, body, status] of cases) {
    const response = await tiny.post(path, body);
    const { error } = await response.json();
    assert.equal(response.status, status, error.message);
    assert.match(error.message, /^Cannot tokenize 10\d+ characters/);
    if (status === 400) assert.equal(error.code, "context_length_exceeded");
  }
  assert.ok(performance.now() - start < 1000);
});
