import assert from "node:assert/strict";
import { type LanguageModel, load } from "../../../mod.ts";
import { UsageError } from "../../../src/errors.ts";
import type { AskOptions } from "../../../src/lab/eval/asked.ts";
import {
  type EvaluateOptions,
  evaluateTask,
  type Outcome,
} from "../../../src/lab/eval/evaluate.ts";
import { likelihoods } from "../../../src/lab/eval/likelihood.ts";
import {
  candidateIds,
  preambleOf,
  promptIds,
} from "../../../src/lab/eval/prompt.ts";
import { summarise } from "../../../src/lab/eval/summary.ts";
import type { EvalTask, Item } from "../../../src/lab/eval/task.ts";
import { logSoftmaxAt } from "../../../src/sampling/logprobs.ts";
import { tinyBamboo } from "../../../tiny/tiny.ts";
import { askedItems, itemsOf, taskOf as task } from "./asked_lines.ts";

function tiny(threads = 0): Promise<LanguageModel> {
  return load(tinyBamboo(), { threads });
}

const animals = ["cat", "dog", "bird", "fish", "cow", "duck"];
/** Questions of a kind that the small model can read. */
const records = animals.map((animal, i) => ({
  query: `Once there was a ${animal}. One day the ${animal}`,
  choices: [
    "went to the park.",
    "pqx zzkj.",
    "was sad, so she cried and cried.",
  ],
  gold: i % 3,
}));
const items = await itemsOf(task("hellaswag"), records);

async function run(
  model: LanguageModel,
  which: EvalTask,
  some: readonly Item[],
  options?: AskOptions & EvaluateOptions,
): Promise<Outcome[]> {
  const asked = askedItems(which, some, options);
  return await Array.fromAsync(evaluateTask(model, which, asked, options));
}

/** The likelihood of a candidate, by itself and from the start. */
async function alone(
  model: LanguageModel,
  context: string,
  continuation: string,
): Promise<number> {
  const { ids, from } = candidateIds(
    model.tokenizer,
    { context, continuation },
    model.engine.contextSize,
  );
  using sequence = model.engine.createSequence();
  const rows = await model.engine.evaluate(sequence, ids.slice(0, -1), "all");
  return ids.slice(from).reduce(
    (sum, id, i) => sum + logSoftmaxAt(rows[from - 1 + i], id),
    0,
  );
}

Deno.test("a candidate's ids are the whole's, and those beyond the context's are scored", async () => {
  await using model = await tiny();
  const { tokenizer } = model;
  for (
    const [context, continuation] of [
      ["Tom had a red", " ball."],
      ["Tom had a red ", "ball."],
      ["Tom had a red\n", " ball."],
      ["", " ball."],
    ]
  ) {
    const { ids, from } = candidateIds(
      tokenizer,
      { context, continuation },
      512,
    );
    assert.deepEqual(ids, tokenizer.encode(context + continuation));
    const before = tokenizer.encode(context.trimEnd()).length;
    assert.equal(from, Math.max(1, before), context);
  }
  const long = candidateIds(
    tokenizer,
    { context: "Tom had a red ball. ".repeat(9), continuation: " He ran." },
    16,
  );
  assert.equal(long.ids.length, 17);
  assert.equal(tokenizer.decode(long.ids.slice(long.from)).trim(), "He ran.");
});

Deno.test("choices, with and without examples, are as likely as each alone", async () => {
  for (const threads of [0, 2]) {
    await using model = await tiny(threads);
    for (const shots of [0, 2]) {
      const outcomes = await run(model, task("hellaswag"), items, { shots });
      assert.equal(outcomes.length, items.length - shots);
      const shown = items.slice(0, shots).map((item) => {
        assert(item.kind === "choice");
        const { context, continuation } = item.candidates[item.gold];
        return context + continuation + "\n\n";
      }).join("");
      for (const [i, { logprobs, scores }] of outcomes.entries()) {
        const item = items[i + shots];
        assert(item.kind === "choice" && logprobs);
        for (const [j, each] of item.candidates.entries()) {
          const { context, continuation } = each;
          const expected = await alone(model, shown + context, continuation);
          assert.ok(Math.abs(logprobs[j] - expected) < 0.02, `${logprobs[j]}`);
        }
        const best = logprobs.indexOf(Math.max(...logprobs));
        assert.equal(scores.acc, Number(best === item.gold));
        assert.notEqual(best, 1, "nobody writes pqx zzkj");
      }
    }
    assert.equal(model.engine.pagesTaken, 0);
  }
});

Deno.test("acc_norm divides by the characters of a choice", async () => {
  await using model = await tiny();
  const record = {
    query: "Tom had a",
    choices: ["ball", "ball and he ran to the park with it, and was happy"],
    gold: 1,
  };
  const [item] = await itemsOf(task("piqa"), [record]);
  const [{ scores, logprobs }] = await run(model, task("piqa"), [item]);
  assert.deepEqual(scores, { acc: 0, acc_norm: 1 });
  assert.ok(logprobs![0] / 4 < logprobs![1] / record.choices[1].length);
});

Deno.test("contexts that differ, as WinoGrande's do, share what they begin with", async () => {
  await using model = await tiny();
  const { engine, tokenizer } = model;
  const texts = ["Tom saw Lily, so Tom", "Tom saw Lily, so Lily", "Ben"]
    .map((context) =>
      candidateIds(tokenizer, { context, continuation: " was happy." }, 512)
    );
  const before = engine.stats().tokens;
  const together = await likelihoods(engine, texts.slice(0, 2));
  const evaluated = engine.stats().tokens - before;
  const all = texts[0].ids.length + texts[1].ids.length - 2;
  assert.ok(evaluated < all - 3, `${evaluated} of ${all} tokens`);
  const others = await likelihoods(engine, texts);
  together.forEach(({ logprob, greedy }, i) => {
    assert.ok(Math.abs(logprob - others[i].logprob) < 1e-3);
    assert.equal(greedy, others[i].greedy);
  });
});

Deno.test("a cloze is right where each of its tokens is the likeliest", async () => {
  await using model = await tiny();
  const context = "Lily went to the";
  const [next] = await (async () => {
    const texts: string[] = [];
    const options = { temperature: 0, maxTokens: 1 };
    for await (const { text } of model.generate(context, options)) {
      texts.push(text);
    }
    return texts;
  })();
  const lambada = task("lambada_openai");
  const lines = [next.trim(), "elephant"].map((continuation) => ({
    context,
    continuation,
  }));
  const clozes = await itemsOf(lambada, lines);
  const outcomes = await run(model, lambada, clozes);
  assert.deepEqual(outcomes.map(({ scores }) => scores.acc), [1, 0]);
  const [perplexity, acc] = summarise(
    lambada,
    askedItems(lambada, clozes),
    outcomes,
  );
  const losses = outcomes.map(({ logprobs }) => -logprobs![0]);
  assert.equal(acc.value, 0.5);
  assert.equal(perplexity.value, Math.exp((losses[0] + losses[1]) / 2));
});

Deno.test("a generated answer is what generate gives, up to where it ends", async () => {
  await using model = await tiny();
  const generation = task("gsm8k");
  const lines = animals.slice(0, 4).map((animal) => ({
    context: `The ${animal} had 2 balls. How many?`,
    chain_of_thought: "It had 2.",
    answer: "2",
  }));
  const sums = await itemsOf(generation, lines);
  const until = [".", "Question:"];
  const shots = 2;
  const outcomes = await run(model, { ...generation, until }, sums, { shots });
  assert.equal(outcomes.length, 2);
  const shown = sums.slice(0, shots).map((item) => {
    assert(item.kind === "generation");
    return `${item.context}${item.solution}\n\n`;
  }).join("");
  for (const [i, { text, scores }] of outcomes.entries()) {
    const item = sums[i + shots];
    assert(item.kind === "generation");
    let expected = "";
    const ids = promptIds(model.tokenizer, shown + item.context);
    const options = { temperature: 0, maxTokens: 256, stop: until };
    for await (const piece of model.generate(ids, options)) {
      expected += piece.text;
    }
    assert.equal(text, expected);
    assert.deepEqual(Object.keys(scores).length, 2);
  }
});

Deno.test("work that is taken up again goes on with the same outcomes", async () => {
  await using model = await tiny();
  const all = await run(model, task("hellaswag"), items);
  const rest = await run(model, task("hellaswag"), items, { skip: 4 });
  rest.forEach(({ logprobs }, i) => {
    logprobs!.forEach((logprob, j) => {
      assert.ok(Math.abs(logprob - all[i + 4].logprobs![j]) < 1e-3);
    });
  });
  const few = await run(model, task("hellaswag"), items, { limit: 2 });
  assert.equal(few.length, 2);
  const controller = new AbortController();
  const { signal } = controller;
  const asked = askedItems(task("hellaswag"), items);
  const stopped = evaluateTask(model, task("hellaswag"), asked, { signal });
  await stopped.next();
  controller.abort();
  await assert.rejects(Array.fromAsync(stopped), { name: "AbortError" });
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("prompts that do not fit the context are cut at the start", async () => {
  await using model = await load(tinyBamboo(), { threads: 0, contextSize: 40 });
  const shots = 3;
  const outcomes = await run(model, task("hellaswag"), items, { shots });
  const shown = preambleOf(items.slice(0, shots));
  assert.ok(model.tokenize(shown).length > 40);
  for (const [i, { logprobs }] of outcomes.entries()) {
    const item = items[i + shots];
    assert(item.kind === "choice" && logprobs);
    for (const [j, { context, continuation }] of item.candidates.entries()) {
      const expected = await alone(model, shown + context, continuation);
      assert.ok(Math.abs(logprobs[j] - expected) < 0.02);
    }
  }
  const sum = { context: "One. ".repeat(40), chain_of_thought: "", answer: "" };
  const sums = await itemsOf(task("gsm8k"), [sum]);
  const [{ text }] = await run(model, task("gsm8k"), sums, { shots: 0 });
  assert.notEqual(text, "", "half of the context is left to write");
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("too few items are refused with both numbers", () => {
  assert.throws(() => askedItems(task("gsm8k"), items.slice(0, 5)), {
    name: "UsageError",
    message: /gsm8k: 5 items are shown as examples, and there are 5/,
  });
  assert.throws(() => askedItems(task("piqa"), []), UsageError);
});

Deno.test("a summary is the mean, with the error of lm-evaluation-harness", () => {
  const scores = [1, 0, 1, 1];
  const outcomes = scores.map((acc) => ({ scores: { acc } }));
  const winogrande = task("winogrande");
  const asked = askedItems(winogrande, items.slice(0, 4));
  const [{ value, stderr, count }] = summarise(winogrande, asked, outcomes);
  assert.deepEqual([value, count], [0.75, 4]);
  // sqrt(3 · 0.25² + 0.75²) / sqrt(3) is the sample's deviation, 0.5.
  assert.ok(Math.abs(stderr - 0.25) < 1e-12);
});
