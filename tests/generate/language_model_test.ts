/** The library's face, on the embedded model. */
import assert from "node:assert/strict";
import {
  type GenerateOptions,
  type LanguageModel,
  LimitError,
  load,
  type Piece,
  type Summary,
  TokenizerError,
  UsageError,
} from "../../mod.ts";
import { entry } from "../../src/formats/gguf/gguf_file.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { withMetadata } from "../helpers/with_metadata.ts";
import { randomModel } from "../helpers/random_model.ts";
import { bambooFiles } from "../helpers/bamboo_files.ts";

const prompt = "One day, Lily went to the park";

async function collect(
  model: LanguageModel,
  from: string | number[],
  options: GenerateOptions = {},
): Promise<{ text: string; pieces: Piece[]; summary: Summary }> {
  let summary: Summary | undefined;
  const pieces: Piece[] = [];
  const all = { temperature: 0, maxTokens: 20, ...options };
  const stream = model.generate(from, {
    ...all,
    onFinish: (result) => summary = result,
  });
  for await (const piece of stream) pieces.push(piece);
  const text = pieces.map((piece) => piece.text).join("");
  return { text, pieces, summary: summary! };
}

Deno.test("generate gives the same text with any number of threads", async () => {
  const texts = [];
  for (const threads of [0, 1, 2, 3]) {
    await using model = await load(tinyBamboo(), { threads });
    texts.push((await collect(model, prompt)).text);
  }
  assert(texts[0].length > 20);
  assert.deepEqual(texts, Array(4).fill(texts[0]));
});

for (const file of bambooFiles) {
  Deno.test(`generate writes the goldens' texts from ${file.name}`, async () => {
    const source = await file.open();
    await using model = await load(source, { cacheType: "f32" });
    for (const golden of file.texts()) {
      const maxTokens = golden.greedy_ids.length;
      const { text, pieces } = await collect(model, golden.prompt, {
        maxTokens,
      });
      assert.deepEqual(pieces.map(({ id }) => id), golden.greedy_ids);
      assert.equal(text.trimStart(), golden.text.trimStart());
    }
    await source.close();
  });
}

Deno.test("the same seed gives the same text, another one another", async () => {
  await using model = await load(tinyBamboo());
  const run = (seed: number) =>
    collect(model, prompt, { temperature: 1, seed, maxTokens: 30 });
  const [first, again, other] = [await run(5), await run(5), await run(6)];
  assert.equal(first.text, again.text);
  assert.notEqual(first.text, other.text);
  assert.equal(first.summary.seed, 5);
});

Deno.test("texts generated at the same time are what each is alone", async () => {
  await using model = await load(tinyBamboo(), { threads: 2 });
  const prompts = [prompt, "Tom had a big red ball. He", "The sun"];
  const together = await Promise.all(prompts.map((p) => collect(model, p)));
  for (const [i, p] of prompts.entries()) {
    assert.equal(together[i].text, (await collect(model, p)).text);
  }
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("a text ends at its limit, at a stop string, at the context's end, or by itself", async () => {
  await using model = await load(tinyBamboo(), { contextSize: 64 });
  const limited = await collect(model, prompt, { maxTokens: 7 });
  assert.equal(limited.summary.finishReason, "length");
  assert.equal(limited.summary.completionTokens, 7);
  assert.equal(
    (await collect(model, prompt, { maxTokens: 0 })).pieces.length,
    0,
  );

  const whole = await collect(model, prompt, { maxTokens: 20 });
  const middle = whole.text.slice(10, 16);
  const stopped = await collect(model, prompt, { stop: [middle] });
  assert.equal(stopped.text, whole.text.slice(0, whole.text.indexOf(middle)));
  assert.equal(stopped.summary.finishReason, "stop");
  assert.equal(stopped.summary.stopString, middle);

  const full = await collect(model, prompt, { maxTokens: -1, ignoreEos: true });
  assert.equal(full.summary.finishReason, "length");
  assert.equal(full.summary.promptTokens + full.summary.completionTokens, 64);

  const { eos } = model.tokenizer;
  const always = { logitBias: { [eos!]: 1000 }, maxTokens: -1 };
  const ended = await collect(model, prompt, always);
  assert.equal(ended.summary.finishReason, "stop");
  assert.deepEqual(ended.pieces.map(({ id, text }) => [id, text]), [[eos, ""]]);
});

Deno.test("logprobs come with each piece, the sampled token among the likeliest", async () => {
  await using model = await load(tinyBamboo());
  const { pieces } = await collect(model, prompt, { logprobs: 3 });
  for (const { id, logprob, topLogprobs } of pieces) {
    assert.equal(topLogprobs!.length, 3);
    assert.deepEqual(topLogprobs![0], { id, logprob });
    assert(logprob <= 0 && topLogprobs![2].logprob <= topLogprobs![1].logprob);
  }
});

Deno.test("a session evaluates only what is new, and the text stays the same", async () => {
  await using model = await load(tinyBamboo());
  using session = model.createSession();
  const first = await collect(model, prompt, { session });
  const longer = prompt + first.text + " Then";
  const continued = await collect(model, longer, { session });
  assert(continued.summary.cachedTokens > 15);
  assert.equal(continued.text, (await collect(model, longer)).text);
  const other = await collect(model, "The sun", { session });
  assert.equal(other.text, (await collect(model, "The sun")).text);
});

Deno.test("an aborted text ends with the pieces it has, and the model goes on", async () => {
  await using model = await load(tinyBamboo());
  const controller = new AbortController();
  let summary: Summary | undefined;
  const pieces: Piece[] = [];
  const options = {
    signal: controller.signal,
    onFinish: (result: Summary) => summary = result,
  };
  for await (const piece of model.generate(prompt, options)) {
    if (pieces.push(piece) === 3) controller.abort();
  }
  assert(pieces.length === 3 || pieces.length === 4);
  assert.equal(summary!.finishReason, "aborted");
  for await (const _ of model.generate(prompt)) break;
  assert.equal((await collect(model, prompt)).pieces.length, 20);
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("chat renders ChatML where the file has no template, or the one given", async () => {
  await using model = await load(tinyBamboo());
  const run = async (template?: string) => {
    let text = "", promptTokens = 0;
    const stream = model.chat([{ role: "user", content: "Hello" }], {
      template,
      temperature: 0,
      maxTokens: 5,
      onFinish: (summary) => promptTokens = summary.promptTokens,
    });
    for await (const piece of stream) text += piece.text;
    return { text, promptTokens };
  };
  const chatMl = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
  assert.equal((await run()).promptTokens, model.tokenize(chatMl).length);
  assert.equal(
    (await run("{{ messages[0].content }}")).promptTokens,
    model.tokenize("Hello").length,
  );
  await assert.rejects(run("{% if %}"));
});

Deno.test("tokenizeChat gives the ids that chat evaluates", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const messages = [{ role: "user", content: "Hello" }];
  for (const template of [undefined, "{{ messages[0].content }}!"]) {
    using session = model.createSession();
    const ids = model.tokenizeChat(messages, { template });
    const options = { template, session, maxTokens: 1, temperature: 0 };
    await Array.fromAsync(model.chat(messages, options));
    assert.deepEqual(session.ids, ids);
  }
});

Deno.test("what cannot be generated is refused with both numbers", async () => {
  await using model = await load(tinyBamboo(), { contextSize: 32 });
  const refused: [string | number[], GenerateOptions, RegExp][] = [
    [[], {}, /the prompt is empty/],
    [Array(32).fill(5), {}, /the prompt has 32 tokens, the context 32/],
    [[5000], {}, /token 5000: the vocabulary has 4096/],
    [prompt, { maxTokens: -2 }, /maxTokens -2/],
    [prompt, { topP: 2 }, /topP 2/],
  ];
  for (const [from, options, message] of refused) {
    await assert.rejects(collect(model, from, options), (error: Error) => {
      assert(error instanceof UsageError || error instanceof LimitError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("load refuses options out of range, and a predictor that is not there", async () => {
  const refused: [Parameters<typeof load>[1], RegExp][] = [
    [{ threads: -1 }, /threads -1/],
    [{ threads: 1000 }, /threads 1000: the limit is 256/],
    [{ contextSize: 1.5 }, /contextSize 1\.5/],
    [{ batchSize: 0 }, /batchSize 0/],
    [{ cacheSize: -1 }, /cacheSize -1/],
    [{ sparsity: { mode: "predictor" } }, /the file has none/],
    // What JavaScript may request, names that every object has among them.
    [
      { cacheType: "q4_0" as "q8_0" },
      /cacheType "q4_0": it is one of f32, f16, q8_0/,
    ],
    [
      { cacheType: "constructor" as "f16" },
      /cacheType "constructor": it is one of/,
    ],
    [
      { gpu: "constructor" as "off" },
      /gpu "constructor": it is one of off, auto/,
    ],
    [
      { activation: "toString" as "drelu" },
      /activation "toString": it is one of/,
    ],
    [
      { sparsity: { mode: "__proto__" as "exact" } },
      /sparsity.mode "__proto__"/,
    ],
    [{ sparsity: { mode: "top-k", share: 2 } }, /sparsity.share 2/],
  ];
  for (const [options, message] of refused) {
    await assert.rejects(load(tinyBamboo(), options), message);
  }
});

Deno.test("loading reports its progress and can be aborted", async () => {
  for (const threads of [0, 2]) {
    const seen: number[] = [];
    let total = 0;
    await using _model = await load(tinyBamboo(), {
      threads,
      onProgress: (progress) => {
        seen.push(progress.loaded);
        total = progress.total;
      },
    });
    assert.equal(seen.at(-1), total);
    assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
    const controller = new AbortController();
    const loading = load(tinyBamboo(), {
      threads,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("enough")),
    });
    await assert.rejects(loading, /enough/);
  }
});

Deno.test("a file without a tokenizer can be run by ids alone", async () => {
  const { bytes } = await randomModel();
  await using model = await load(bytes, { threads: 0 });
  assert.throws(() => model.tokenize("a"), TokenizerError);
  using sequence = model.engine.createSequence();
  assert.equal((await model.engine.evaluate(sequence, [1])).length, 1);
});

Deno.test("text, Blob and Uint8Array sources load alike", async () => {
  const { bytes, source } = await randomModel();
  const run = async (from: Parameters<typeof load>[0]) => {
    await using model = await load(from, { threads: 0 });
    using sequence = model.engine.createSequence();
    return (await model.engine.evaluate(sequence, [1, 2]))[0];
  };
  const expected = await run(source);
  assert.deepEqual(await run(bytes), expected);
  assert.deepEqual(await run(new Blob([bytes])), expected);
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    await Deno.writeFile(path, bytes);
    assert.deepEqual(await run(path), expected);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("onToken sees every piece of a text that complete gives whole", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const pieces: string[] = [];
  const text = await model.complete("Tom had a", {
    temperature: 0,
    maxTokens: 12,
    onToken: (piece) => pieces.push(piece.text),
  });
  assert.equal(pieces.length, 12);
  assert.equal(pieces.join(""), text);
  await assert.rejects(
    model.complete("Tom", {
      maxTokens: 3,
      onToken: () => {
        throw new RangeError("enough");
      },
    }),
    { name: "RangeError", message: "enough" },
  );
  const options = { temperature: 0, maxTokens: 12 };
  assert.equal(await model.complete("Tom had a", options), text);
});

Deno.test("tools and variables reach the template of a chat", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const template = "{{ messages[0].content }} {% for tool in tools %}" +
    "{{ tool.function.name }} {% endfor %}{{ mood }}";
  const messages = [{ role: "user", content: "Once" }];
  const ids = model.tokenizeChat(messages, {
    template,
    tools: [{ type: "function", function: { name: "rain" } }],
    variables: { mood: "glad", messages: "not these" },
  });
  assert.deepEqual(ids, model.tokenize("Once rain glad"));
  for (const wrong of [{ tools: {} }, { tools: ["rain"] }, { variables: [] }]) {
    assert.throws(
      // deno-lint-ignore no-explicit-any
      () => model.tokenizeChat(messages, wrong as any),
      { name: "UsageError" },
    );
  }
});

const ending = { "tokenizer.ggml.add_eos_token": entry.flag(true) };

Deno.test("no EOS stands behind a text that is to go on, whatever the file says", async () => {
  await using plain = await load(tinyBamboo(), { threads: 0 });
  const source = await withMetadata(tinyBamboo(), ending);
  await using model = await load(source, { threads: 0 });
  const { eos } = model.tokenizer;
  assert.equal(model.tokenize(prompt).at(-1), eos);
  assert.notEqual(model.tokenize(prompt, { addEos: false }).at(-1), eos);
  const [own, other] = [
    await collect(model, prompt),
    await collect(plain, prompt),
  ];
  assert.equal(own.text, other.text);
  const messages = [{ role: "user", content: "Hi" }];
  assert.deepEqual(model.tokenizeChat(messages), plain.tokenizeChat(messages));
});

Deno.test("special tokens of a prompt are read on request", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const count = async (parseSpecial: boolean) =>
    (await collect(model, "Hi</s>", { parseSpecial, maxTokens: 1 })).summary
      .promptTokens;
  assert.equal(await count(true), model.tokenize("Hi").length + 1);
  assert.ok(await count(false) > await count(true));
});

Deno.test("a system's message that the template refuses comes before the user's", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const template = "{% if messages[0].role == 'system' %}" +
    "{{ raise_exception('System role not supported') }}{% endif %}" +
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
  const user = { role: "user", content: "Hi" };
  const written = (messages: { role: string; content: string }[]) =>
    model.detokenize(model.tokenizeChat(messages, { template }));
  const system = { role: "system", content: "Be brief." };
  assert.equal(written([system, user]), "[user]Be brief.\nHi");
  assert.equal(written([user]), "[user]Hi");
  // What is refused for another reason, or has nobody to say it, is refused.
  for (const messages of [[system], [system, { ...user, role: "assistant" }]]) {
    assert.throws(() => written(messages), {
      name: "UsageError",
      message: /System role not supported/,
    });
  }
});

Deno.test("what is odd about a file and does no harm is a warning", async () => {
  const odd = { "tokenizer.ggml.eos_token_id": entry.whole(0xffffffff) };
  const warnings: string[] = [];
  await using model = await load(await withMetadata(tinyBamboo(), odd), {
    threads: 0,
    onWarning: (message) => warnings.push(message),
  });
  assert.equal(model.tokenizer.eos, 2);
  assert.deepEqual(warnings, [
    "tokenizer.ggml.eos_token_id is 4294967295, the ids run from 0 to 4095: taken for 2",
  ]);
});
