/** A text is held to what its options say, and is otherwise the model's. */
import assert from "node:assert/strict";
import {
  type GenerateOptions,
  type LanguageModel,
  LimitError,
  load,
  type Summary,
  UnsupportedError,
  UsageError,
} from "../../mod.ts";
import { makeConstraint } from "../../src/constrain/constraint.ts";
import { allows } from "../../src/sampling/token_mask.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const model = await load(tinyBamboo(), { threads: 0, contextSize: 256 });

const prompt = "Lily had a red ball. Tom had a blue ball. Lily said:";

async function write(
  options: GenerateOptions,
  from: LanguageModel = model,
): Promise<{ text: string; summary: Summary; ids: number[] }> {
  let summary!: Summary;
  let text = "";
  const ids: number[] = [];
  const onFinish = (result: Summary) => summary = result;
  const all = { seed: 1, maxTokens: 150, ...options, onFinish };
  for await (const piece of from.generate(prompt, all)) {
    text += piece.text;
    ids.push(piece.id);
  }
  return { text, summary, ids };
}

const animal = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 12 },
    legs: { type: "integer", minimum: 0, maximum: 8 },
    kind: { enum: ["cat", "dog"] },
  },
  required: ["name", "legs", "kind"],
  additionalProperties: false,
};

Deno.test("a text is JSON of its schema, and ends with it", async () => {
  for (const seed of [1, 2, 3]) {
    for (const temperature of [0, 1]) {
      const { text, summary } = await write({
        schema: animal,
        seed,
        temperature,
      });
      const { name, legs, kind, ...rest } = JSON.parse(text);
      assert.deepEqual(rest, {});
      assert.equal(typeof name, "string");
      assert.ok(name.length <= 12);
      assert.ok(Number.isInteger(legs) && legs >= 0 && legs <= 8);
      assert.ok(["cat", "dog"].includes(kind));
      assert.equal(summary.finishReason, "stop");
    }
  }
});

Deno.test("grammars, regexes and parts of a text hold it", async () => {
  const cases: [GenerateOptions, RegExp][] = [
    [
      { grammar: 'root ::= " " ("yes" | "no") [!.]+ "\\n"' },
      /^ (yes|no)[!.]+\n$/,
    ],
    [
      { regex: " (My|The) [a-z]+ is (red|blue)\\." },
      /^ (My|The) [a-z]+ is (red|blue)\.$/,
    ],
    [
      {
        structured: {
          structures: [{
            begin: " <call>",
            content: { schema: { type: "boolean" } },
            end: "</call>",
          }],
          least: 1,
          most: 1,
          freeText: false,
        },
      },
      /^ <call>(true|false)<\/call>$/,
    ],
  ];
  for (const [options, pattern] of cases) {
    for (const seed of [1, 2, 3]) {
      const { text, summary } = await write({ ...options, seed, topK: 0 });
      assert.match(text, pattern);
      assert.equal(summary.finishReason, "stop");
    }
  }
});

Deno.test("each token is the likeliest that may come", async () => {
  const { ids } = await write({ schema: animal, temperature: 0 });
  using constraint = await makeConstraint(model.tokenizer, { schema: animal });
  using sequence = model.engine.createSequence();
  let next = model.tokenize(prompt, { addEos: false });
  for (const id of ids) {
    const [logits] = await model.engine.evaluate(sequence, next);
    const mask = constraint.mask();
    const best = Math.max(...logits.filter((_, each) => allows(mask, each)));
    assert.equal(logits[id], best);
    constraint.take(id);
    next = [id];
  }
  assert.ok(constraint.mustEnd);
});

Deno.test("places pick what a mask allows, and the text is that of whole logits", async () => {
  for (const threads of [0, 1]) {
    await using other = await load(tinyBamboo(), { threads, contextSize: 256 });
    const { engine } = other;
    const options: GenerateOptions[] = [
      { temperature: 0, speculation: "none" },
      { temperature: 0 },
      { topK: 5, seed: 3 },
      { topK: 40, seed: 4, repeatPenalty: 1.3 },
    ];
    for (const more of options) {
      const all = { ...more, schema: animal, maxTokens: 40 };
      const masked = engine.evaluateMasked;
      let picked = 0;
      engine.evaluateMasked = async function (...args) {
        const logits = await masked.apply(engine, args);
        if (!(logits instanceof Float32Array)) picked++;
        return logits;
      };
      const given = await write(all, other);
      assert.ok(picked > 0 || threads > 0);
      engine.evaluateMasked = async (sequence, tokens, _k, _mask, signal) => {
        const want = "last";
        const [row] = await engine.evaluate(sequence, tokens, want, signal);
        return row;
      };
      const whole = await write(all, other);
      engine.evaluateMasked = masked;
      assert.deepEqual(given.ids, whole.ids);
    }
  }
});

Deno.test("the text is the same with drafts, which are never what may not come", async () => {
  await using eager = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 256,
  });
  // Steps of any length seem to cost the same: whatever may be right is drafted.
  const value = { ms: () => 1, sequences: 1 };
  Object.defineProperty(eager.engine, "stepCosts", { value });
  const held: GenerateOptions[] = [
    { schema: { type: "array", items: animal, minItems: 2, maxItems: 3 } },
    { grammar: 'root ::= ("the red ball and ")+ "."' },
    { regex: "( ball is red| ball is blue)*\\." },
  ];
  let drafted = 0;
  for (const options of held) {
    for (const more of [{ temperature: 0 }, { topK: 0, seed: 7 }]) {
      const all = { ...options, ...more, ngramSize: 1 };
      const plain = await write({ ...all, speculation: "none" });
      const result = await write(all, eager);
      assert.deepEqual(result.ids, plain.ids);
      drafted += result.summary.draftedTokens;
    }
  }
  assert.ok(drafted > 0);
});

Deno.test("a text may end only where it is whole, and ends there", async () => {
  const ends = new Map([[model.tokenizer.eos!, 100]]);
  // The model's wish to end is heard once the constraint allows it.
  const wished = await write({ regex: " [a-z]{4,}", logitBias: ends });
  assert.match(wished.text, /^ [a-z]{4,}$/);
  assert.equal(wished.ids.at(-1), model.tokenizer.eos);
  // Without an end, the text goes on to its limit, or to where nothing may follow.
  const endless = { ignoreEos: true, maxTokens: 12 };
  const long = await write({ ...endless, regex: " [a-z ]+" });
  assert.equal(long.summary.finishReason, "length");
  assert.equal(long.ids.length, 12);
  const whole = await write({ ...endless, regex: " [ab]{3}" });
  assert.match(whole.text, /^ [ab]{3}$/);
  assert.equal(whole.summary.finishReason, "stop");
});

Deno.test("stop strings and maxTokens end a constrained text before it is whole", async () => {
  const stopped = await write({ schema: animal, stop: '"legs"' });
  assert.equal(stopped.summary.stopString, '"legs"');
  const cut = await write({ schema: animal, maxTokens: 4 });
  assert.equal(cut.summary.finishReason, "length");
});

Deno.test("log-probabilities are the model's own, before the constraint", async () => {
  const logprobs: number[] = [];
  const options = { grammar: 'root ::= "{" "}"', logprobs: 1 };
  for await (const piece of model.generate(prompt, options)) {
    logprobs.push(piece.logprob);
    assert.ok(piece.topLogprobs![0].logprob >= piece.logprob);
  }
  assert.ok(logprobs.every((logprob) => logprob < 0));
});

Deno.test("what cannot be held is refused before anything is evaluated", async () => {
  const refused: [GenerateOptions, new () => Error, RegExp][] = [
    [{ schema: { not: {} } }, UnsupportedError, /not at # is not supported/],
    [{ grammar: "x ::= y" }, UsageError, /no rule root/],
    [{ regex: "a(" }, UnsupportedError, /unclosed group/],
    [{ schema: { multipleOf: 1e9 + 7 } }, LimitError, /limit is/],
    [{ schema: {}, regex: "a" }, UsageError, /schema and regex: give one/],
    [{ json: true, grammar: "" }, UsageError, /json and grammar: give one/],
    [
      { schema: [] as unknown as object as never },
      UsageError,
      /schema a list: it is a JSON schema/,
    ],
    [
      { structured: { structures: [{ begin: "a" }] } as never },
      UsageError,
      /structured/,
    ],
    [{ structured: { structures: [] } }, UsageError, /no structures/],
  ];
  using session = model.createSession();
  for (const [options, type, message] of refused) {
    await assert.rejects(write({ ...options, session }), (error: Error) => {
      assert.ok(error instanceof type, error.stack);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(session.ids.length, 0);
  const { text } = await write({ grammar: 'root ::= "{" "}"', session });
  assert.equal(text, "{}");
});

Deno.test("an aborted text, and one that nobody listens to, leave the session usable", async () => {
  using session = model.createSession();
  const abort = new AbortController();
  const options = { json: true, session, signal: abort.signal, seed: 1 };
  for await (const _ of model.generate(prompt, options)) abort.abort();
  for await (const _ of model.generate(prompt, { json: true, session })) break;
  const { text } = await write({ schema: animal, session, temperature: 0 });
  assert.equal(text, (await write({ schema: animal, temperature: 0 })).text);
});

Deno.test("a text that is aborted leaves the others what the vocabulary is known by", async () => {
  using other = await makeConstraint(model.tokenizer, { schema: animal });
  const abort = new AbortController();
  const options = { schema: animal, signal: abort.signal };
  for await (const _ of model.generate(prompt, options)) abort.abort();
  // A mask that was begun comes in a later turn of the event loop.
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(other.room.isLost, false);
});
