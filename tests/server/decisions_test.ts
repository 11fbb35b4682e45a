/** Decisions, beside what the model says of the same texts otherwise. */
import assert from "node:assert/strict";
import { type TinyServer, tinyServer } from "./tiny_server.ts";

const close = (a: number, b: number) =>
  assert.ok(Math.abs(a - b) < 1e-4, `${a} and ${b}`);

async function decide({ post }: TinyServer, body: object) {
  const response = await post("/v1/decisions", body);
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

/** The log-probability of the tokens of a text behind the first `count`, as completions state it. */
async function logprobOf({ post }: TinyServer, ids: number[], count: number) {
  const response = await post("/v1/completions", {
    prompt: ids,
    max_tokens: 1,
    echo: true,
    logprobs: 1,
  });
  const { choices: [{ logprobs }] } = await response.json();
  const scored: number[] = logprobs.token_logprobs.slice(count, ids.length);
  return scored.reduce((sum, each) => sum + each, 0);
}

const softmax = (logprobs: number[]) => {
  const weights = logprobs.map(Math.exp);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
};

Deno.test("a choice has the probability of its tokens behind the prompt", async () => {
  await using tiny = await tinyServer();
  const prompt = "Once upon a time, there was a little";
  const texts = [" girl", " boy named Tim", " elephants", "st dog"];
  const { decisions: [decision], usage, object } = await decide(tiny, {
    prompt,
    questions: [{ id: "who", type: "choice", choices: texts }],
  });
  assert.equal(object, "decisions");
  const { tokenizer } = tiny.model;
  const encode = (text: string) =>
    tokenizer.encode(text, { addSpecial: true, addEos: false });
  // The last choice is cut into tokens with the prompt's last word, which then belongs to all.
  const all = texts.map((text) => encode(prompt + text));
  let count = 0;
  while (all.every((ids) => ids[count] === all[0][count])) count++;
  const expected: number[] = [];
  for (const ids of all) expected.push(await logprobOf(tiny, ids, count));
  const probabilities = softmax(expected);
  // deno-lint-ignore no-explicit-any -- what was sent
  decision.choices.forEach((choice: any, i: number) => {
    assert.equal(choice.text, texts[i]);
    close(choice.logprob, expected[i]);
    close(choice.probability, probabilities[i]);
  });
  assert.deepEqual([decision.id, decision.type], ["who", "choice"]);
  assert.equal(
    decision.answer,
    texts[expected.indexOf(Math.max(...expected))],
  );
  close(decision.mass, expected.reduce((sum, each) => sum + Math.exp(each), 0));
  const behind = all.map((ids) => ids.length - count);
  assert.equal(
    usage.prompt_tokens,
    count + behind.reduce((sum, each) => sum + each, 0),
  );
});

Deno.test("what questions begin with alike is evaluated once", async () => {
  await using tiny = await tinyServer();
  const system = "Tom and Lily went to the park with a red ball. ".repeat(16);
  const messages = [{ role: "system", content: system }];
  const asking = (question: string) => ({ type: "boolean", question });
  const before = tiny.model.engine.stats().tokens;
  const { decisions, usage } = await decide(tiny, {
    messages,
    questions: ["Was it red?", "Was it big?", "Was it Tom's?"].map(asking),
  });
  const evaluated = tiny.model.engine.stats().tokens - before;
  assert.equal(usage.prompt_tokens, evaluated);
  const { length } = tiny.model.tokenize(system);
  assert.ok(evaluated < 2 * length, `${evaluated} and ${length}`);
  for (const { answer, choices } of decisions) {
    assert.equal(typeof answer, "boolean");
    close(choices[0].probability + choices[1].probability, 1);
  }
  // By itself each question has the same answer, to the last bit.
  const alone = await decide(tiny, {
    messages,
    questions: [asking("Was it big?")],
  });
  assert.deepEqual(alone.decisions, [decisions[1]]);
  assert.ok(alone.usage.prompt_tokens_details.cached_tokens > 0);
});

Deno.test("numbers end where they end, and have a mean", async () => {
  await using tiny = await tinyServer();
  const messages = [{ role: "user", content: "How many balls?" }];
  const { decisions: [decision] } = await decide(tiny, {
    messages,
    questions: [{ type: "number", min: 1, max: 12 }],
  });
  const { choices, expected, answer } = decision;
  assert.equal(choices.length, 12);
  let mean = 0, total = 0, best = choices[0];
  for (const [i, choice] of choices.entries()) {
    assert.equal(choice.text, String(i + 1));
    mean += (i + 1) * choice.probability;
    total += choice.probability;
    if (choice.probability > best.probability) best = choice;
  }
  close(total, 1);
  close(mean, expected);
  assert.equal(String(answer), best.text);
  // Its end is counted in: without it, 1 is at least as likely as 1 and its end.
  const { decisions: [open] } = await decide(tiny, {
    messages,
    questions: [{ type: "number", min: 1, max: 2, ends: false }],
  });
  assert.ok(open.choices[0].logprob > choices[0].logprob);
});

Deno.test("what is wrong with a decision's request is said by the field's name", async () => {
  await using tiny = await tinyServer();
  const prompt = "Tom had";
  const asking = (question: object) => ({ prompt, questions: [question] });
  const choice = { type: "choice", choices: [" a", " the"] };
  for (
    const [body, param] of [
      [{ questions: [choice] }, "messages"],
      [
        {
          prompt,
          messages: [{ role: "user", content: "A" }],
          questions: [choice],
        },
        "messages",
      ],
      [{ prompt }, "questions"],
      [{ prompt, questions: [] }, "questions"],
      [{ prompt, questions: Array(65).fill(choice) }, "questions"],
      [asking({ type: "other" }), "questions[0].type"],
      [asking({ type: "choice" }), "questions[0].choices"],
      [asking({ type: "choice", choices: [" a"] }), "questions[0].choices"],
      [
        asking({ type: "choice", choices: [" a", ""] }),
        "questions[0].choices[1]",
      ],
      [
        asking({ type: "choice", choices: [" a", " a"] }),
        "questions[0].choices",
      ],
      [
        asking({ type: "boolean", choices: [" a", " b", " c"] }),
        "questions[0].choices",
      ],
      [asking({ type: "number", min: 1 }), "questions[0].max"],
      [asking({ type: "number", min: 2, max: 1 }), "questions[0].max"],
      [asking({ type: "number", min: 0, max: 1e6 }), "questions[0].max"],
      [
        asking({ type: "number", min: 0, max: 9, step: 0 }),
        "questions[0].step",
      ],
      [
        asking({ type: "choice", choices: [" a dog", " a"] }),
        "questions[0].ends",
      ],
    ] as const
  ) {
    const response = await tiny.post("/v1/decisions", body);
    const { error } = await response.json();
    assert.deepEqual([response.status, error.param], [400, param]);
  }
  const long = "word ".repeat(3000);
  const response = await tiny.post("/v1/decisions", {
    prompt: long,
    questions: [choice],
  });
  assert.equal(response.status, 400);
});
