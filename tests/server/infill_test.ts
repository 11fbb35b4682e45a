/** What belongs at a place of a file: llama.cpp's /infill, and the suffix of OpenAI's completions. */
import assert from "node:assert/strict";
import { type LanguageModel, load } from "../../mod.ts";
import { createServer } from "../../server.ts";
import { LanguageModel as Model } from "../../src/generate/language_model.ts";
import { fimPrompt } from "../../src/server/fim.ts";
import type { FimTokens } from "../../src/tokenizer/fim_tokens.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { tinyServer } from "./tiny_server.ts";

/** Ids that stand for nothing in particular. */
const needed = { prefix: 301, suffix: 302, middle: 303 };
const all = { ...needed, repository: 304, separator: 305 };

/** The embedded model, as if these of its tokens framed what is to be filled in. */
async function fimModel(fim: FimTokens): Promise<LanguageModel> {
  const { file, model, engine, loadMs, tokenizer } = await load(tinyBamboo(), {
    threads: 0,
  });
  return new Model(file, model, engine, loadMs, { ...tokenizer, fim });
}

Deno.test("a prompt has prefix and suffix in their frames, behind the files that were sent", async () => {
  await using model = await fimModel(all);
  const plain = (text: string) =>
    model.tokenizer.encode(text, { addSpecial: false });
  const bos = model.tokenizer.addBos ? [model.tokenizer.bos!] : [];
  const hole = { prefix: "Tom had a", suffix: " ball." };
  const middle = [
    301,
    ...plain("Tom had a"),
    302,
    ...plain(" ball."),
    303,
  ];
  assert.deepEqual(fimPrompt(model, hole, 8, "suffix"), [...bos, ...middle]);
  const files = [{ filename: "a.txt", text: "Lily" }, { text: "Ben" }];
  assert.deepEqual(fimPrompt(model, { ...hole, files }, 8, "suffix"), [
    ...bos,
    304,
    ...plain("myproject\n"),
    305,
    ...plain("a.txt\n"),
    ...plain("Lily"),
    305,
    ...plain("tmp\n"),
    ...plain("Ben"),
    305,
    ...plain("filename\n"),
    ...middle,
  ]);
  await using simple = await fimModel(needed);
  const given = fimPrompt(
    simple,
    { ...hole, files: [{ text: "Ben" }] },
    8,
    "suffix",
  );
  assert.deepEqual(given, [
    ...bos,
    ...plain("\n--- snippet ---\n"),
    ...plain("Ben"),
    ...middle,
  ]);
});

Deno.test("what is far from the place is left out where the context is full", async () => {
  await using model = await fimModel(all);
  const { contextSize } = model.engine;
  const ids = (count: number, first: number) =>
    Array.from({ length: count }, (_, i) => first + (i % 7));
  const long = "Tom had a ball. ".repeat(contextSize);
  const files = [{ text: long }];
  const most = contextSize - 100;
  for (
    const [prefix, suffix] of [
      ["Tom", " ball."],
      ["Tom", long],
      [long, " ball."],
      [long, long],
      [ids(contextSize * 2, 40), long],
    ] as const
  ) {
    const prompt = fimPrompt(model, { prefix, suffix, files }, 100, "suffix");
    assert.equal(prompt.length, most);
    const before = prompt.slice(
      prompt.indexOf(301) + 1,
      prompt.lastIndexOf(302),
    );
    const behind = prompt.slice(prompt.lastIndexOf(302) + 1, -1);
    const plain = (text: string) =>
      model.tokenizer.encode(text, { addSpecial: false });
    const whole = typeof prefix === "string" ? plain(prefix) : prefix;
    assert.deepEqual(before, whole.slice(-before.length));
    assert.deepEqual(behind, plain(suffix).slice(0, behind.length));
    const room = most - 3 - (model.tokenizer.addBos ? 1 : 0);
    if (suffix !== long) assert.equal(behind.length, plain(suffix).length);
    else assert(behind.length >= Math.floor(room / 4));
    assert(before.length >= Math.min(whole.length, Math.floor(3 * room / 4)));
  }
  const { length } = fimPrompt(
    model,
    { prefix: long, suffix: "" },
    -1,
    "suffix",
  );
  assert.equal(length, contextSize - Math.floor(contextSize / 4));
});

Deno.test("/infill and suffix write what a prompt in frames goes on with", async () => {
  await using model = await fimModel(all);
  await using server = createServer(model);
  const post = async (path: string, body: object) => {
    const response = await server.fetch(
      new Request(`http://localhost${path}`, {
        method: "POST",
        body: JSON.stringify({ temperature: 0, ...body }),
      }),
    );
    return { status: response.status, body: await response.json() };
  };
  const hole = { prefix: "Tom had a", suffix: " ball." };
  const prompt = fimPrompt(model, hole, 8, "suffix");
  const options = { temperature: 0, maxTokens: 8 };
  const text = await model.complete(prompt, options);

  const infill = await post("/infill", {
    input_prefix: "Tom",
    prompt: " had a",
    input_suffix: " ball.",
    input_extra: [],
    n_predict: 8,
  });
  assert.equal(infill.status, 200, JSON.stringify(infill.body));
  assert.equal(infill.body.content, text);
  assert.equal(infill.body.tokens_evaluated, prompt.length);

  const { suffix } = hole;
  const completion = await post("/v1/completions", {
    prompt: [
      "Tom had a",
      model.tokenizer.encode("Tom had a", { addSpecial: false }),
    ],
    suffix,
    max_tokens: 8,
  });
  assert.equal(completion.status, 200, JSON.stringify(completion.body));
  assert.deepEqual(
    completion.body.choices.map(({ text }: { text: string }) => text),
    [text, text],
  );

  const around = { input_prefix: "a", input_suffix: "b" };
  for (
    const [wrong, param] of [
      [{ input_prefix: "a" }, "input_suffix"],
      [{ input_suffix: "b" }, "input_prefix"],
      [{ ...around, input_extra: [{}] }, "input_extra[0].text"],
      [{ ...around, input_extra: [{ filename: "a" }] }, "input_extra[0].text"],
      [
        { ...around, input_extra: [{ filename: 1, text: "a" }] },
        "input_extra[0].filename",
      ],
      [{ ...around, input_extra: "a" }, "input_extra"],
      [{ ...around, prompt: 7 }, "prompt"],
    ] as const
  ) {
    const { status, body } = await post("/infill", wrong);
    assert.deepEqual([status, body.error.param], [400, param]);
  }
  const echo = { prompt: "a", suffix: "b", echo: true };
  assert.equal((await post("/v1/completions", echo)).status, 501);
});

Deno.test("a model without such tokens says so by the field's name", async () => {
  await using tiny = await tinyServer();
  for (
    const [path, body, param] of [
      ["/infill", { input_prefix: "a", input_suffix: "b" }, "input_suffix"],
      ["/v1/completions", { prompt: "a", suffix: "b" }, "suffix"],
    ] as const
  ) {
    const response = await tiny.post(path, body);
    assert.equal(response.status, 501);
    const { error } = await response.json();
    assert.equal(error.type, "not_supported_error");
    assert.equal(error.param, param);
    assert.match(error.message, /FIM/);
  }
  const empty = { prompt: "Tom had a", suffix: "", max_tokens: 2 };
  const plain = await tiny.post("/v1/completions", empty);
  assert.equal(plain.status, 200);
  await plain.body?.cancel();
});
