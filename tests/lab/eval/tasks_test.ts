import assert from "node:assert/strict";
import { FormatError } from "../../../src/errors.ts";
import { askedOf } from "../../../src/lab/eval/asked.ts";
import { humanEval } from "../../../src/lab/eval/humaneval.ts";
import { preambleOf } from "../../../src/lab/eval/prompt.ts";
import { summarise } from "../../../src/lab/eval/summary.ts";
import type { Item, TaskFiles } from "../../../src/lab/eval/task.ts";
import { itemsOf, taskOf } from "./asked_lines.ts";

async function itemOf(
  name: string,
  record: Record<string, unknown>,
): Promise<Item> {
  const [item] = await itemsOf(taskOf(name), [record]);
  return item;
}

/** Context and continuation of each candidate, as one text with a bar between. */
function prompts(item: Item): string[] {
  switch (item.kind) {
    case "choice":
      return item.candidates.map((each) =>
        `${each.context}|${each.continuation}`
      );
    case "cloze":
      return [`${item.context}|${item.continuation}`];
    case "generation":
    case "program":
      return [`${item.context}|`];
  }
}

Deno.test("prompts are lm-evaluation-harness's", async () => {
  const choices = ["gray", "warm"];
  const query = "Question: What is fur?";
  for (const name of ["arc_easy", "arc_challenge"]) {
    assert.deepEqual(prompts(await itemOf(name, { query, choices, gold: 1 })), [
      "Question: What is fur?\nAnswer:| gray",
      "Question: What is fur?\nAnswer:| warm",
    ]);
  }
  assert.deepEqual(
    prompts(await itemOf("piqa", { query: query + "\n", choices, gold: 0 })),
    prompts(await itemOf("arc_easy", { query, choices, gold: 0 })),
  );
  assert.deepEqual(
    prompts(
      await itemOf("hellaswag", { query: "Tango: A man", choices, gold: 0 }),
    ),
    ["Tango: A man| gray", "Tango: A man| warm"],
  );
  assert.deepEqual(
    prompts(
      await itemOf("winogrande", {
        context_options: ["so Sarah", "so Maria"],
        continuation: "slept.",
        gold: 0,
      }),
    ),
    ["so Sarah| slept.", "so Maria| slept."],
  );
  assert.deepEqual(
    prompts(
      await itemOf("lambada_openai", { context: "I saw", continuation: "Ann" }),
    ),
    ["I saw| Ann"],
  );
  const sum = {
    context: "How much is 2 and 3?",
    chain_of_thought: "It is 2+3=<<2+3=5>>5.",
    answer: "5",
  };
  assert.deepEqual(prompts(await itemOf("gsm8k", sum)), [
    "Question: How much is 2 and 3?\nAnswer:|",
  ]);
  assert.equal(
    preambleOf([
      await itemOf("gsm8k", sum),
      await itemOf("piqa", { query, choices, gold: 1 }),
    ]),
    "Question: How much is 2 and 3?\nAnswer: It is 2+3=<<2+3=5>>5.\n#### 5\n\n" +
      "Question: What is fur?\nAnswer: warm\n\n",
  );
});

Deno.test("sums are read as lm-evaluation-harness reads them", async () => {
  const scores = async (answer: string, text: string): Promise<string> => {
    const item = await itemOf("gsm8k", {
      context: "",
      chain_of_thought: "",
      answer,
    });
    assert(item.kind === "generation");
    const found = item.scoresOf(text);
    return `${found["exact_match,strict"]}${found["exact_match,flexible"]}`;
  };
  const cases: [answer: string, text: string, strictAndFlexible: string][] = [
    ["18", "so 18\n#### 18", "11"],
    ["18", "so it is 18.", "01"],
    ["18", "#### 17", "00"],
    ["18", "#### 18\nand 3 more: 21", "10"],
    ["2,125", "#### 2125", "11"],
    ["2125", "It is $2,125.", "01"],
    ["-5", "#### -5.", "11"],
    ["7", "nothing", "00"],
    ["7", "", "00"],
    ["7", "from 3 to 7", "01"],
    ["70000", "#### 70,000\n", "11"],
  ];
  for (const [answer, text, expected] of cases) {
    assert.equal(await scores(answer, text), expected, `${answer}: ${text}`);
  }
});

Deno.test("a line that lacks a field is told by its number", async () => {
  const piqa = taskOf("piqa");
  const good = JSON.stringify({ query: "a", choices: ["b", "c"], gold: 1 });
  const refused: [string, RegExp][] = [
    ["{", /file, line 2: it is no JSON$/],
    ["[]", /line 2: "choices" is missing|line 2: "query" is missing/],
    ["null", /line 2: it is no JSON object/],
    [good.replace('"a"', "3"), /line 2: "query" is 3, needs a text/],
    [good.replace('["b","c"]', '["b"]'), /"choices" is \["b"\], needs a list/],
    [good.replace("1}", "2}"), /"gold" is 2, needs a whole number below 2/],
    [good.replace("1}", '"1"}'), /"gold" is "1", needs a whole number below 2/],
  ];
  assert.equal((await itemsOf(piqa, `${good}\n\n${good}\n`)).length, 2);
  for (const [line, message] of refused) {
    await assert.rejects(
      itemsOf(piqa, `${good}\n${line}`),
      (error) => error instanceof FormatError && message.test(error.message),
      line,
    );
  }
});

/** Files that lie in memory. */
function filesOf(texts: Readonly<Record<string, string>>): TaskFiles {
  return (...names) => {
    const path = names.find((name) => name in texts) ?? names[0];
    return Promise.resolve({ path, text: texts[path] ?? "" });
  };
}

Deno.test("mc1 asks for the best answer, mc2 for the share of the true ones", async () => {
  const record = {
    question: "Is it?",
    mc1_targets: { No: 0, Yes: 1 },
    mc2_targets: { Yes: 1, Perhaps: 1, No: 0 },
  };
  const files = filesOf({ "truthfulqa_mc.json": JSON.stringify([record]) });
  const [mc1, mc2] = await Promise.all(["1", "2"].map(async (number) => {
    const task = taskOf(`truthfulqa_mc${number}`);
    const [{ preamble, questions: [item] }] = askedOf(
      task,
      await task.read(files),
      { shots: 7 },
    );
    assert.ok(preamble.endsWith("in Barcelona, Spain.\n\n"));
    assert(item.kind === "choice");
    return item;
  }));
  assert.equal(mc1.candidates[1].context, "Q: Is it?\nA:");
  assert.deepEqual([-2, -3].map((best) => mc1.scoresOf([best, -2.5]).acc), [
    0,
    1,
  ]);
  // Too small for a number by themselves.
  const logprobs = [1, 2, 1].map((share) => Math.log(share) - 800);
  assert.ok(Math.abs(mc2.scoresOf(logprobs).acc - 0.75) < 1e-12);
});

Deno.test("subjects have examples and values of their own", async () => {
  const line = (subject: string, split: string, question: string) =>
    JSON.stringify({
      subject,
      split,
      question,
      choices: ["1", "2", "3", "4"],
      answer: 1,
    });
  const text = [
    line("world_religions", "test", "last?"),
    line("anatomy", "test", " first? "),
    line("anatomy", "dev", "shown?"),
    line("anatomy", "test", "second?"),
    line("virology", "test", "third?"),
  ].join("\n");
  const task = taskOf("mmlu");
  const subjects = await task.read(filesOf({ "mmlu.jsonl": text }));
  assert.throws(() => askedOf(task, subjects), {
    message:
      "Cannot evaluate mmlu_anatomy: 5 examples are to be shown, and there are 1",
  });
  const [anatomy] = askedOf(task, subjects.slice(0, 1), { shots: 1 });
  assert.equal(
    anatomy.preamble,
    "The following are multiple choice questions (with answers) about anatomy.\n\n" +
      "shown?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: B\n\n",
  );
  const asked = askedOf(task, subjects, { shots: 0 });
  const [first] = asked[0].questions;
  assert.equal(prompts(first)[3], "first?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:| D");
  const outcomes = [1, 0, 1, 1].map((acc) => ({ scores: { acc } }));
  assert.deepEqual(
    summarise(task, asked, outcomes).map(({ name, value, count }) =>
      `${name} ${value} ${count}`
    ),
    [
      "mmlu 0.75 4",
      "mmlu_stem 0.5 2",
      "mmlu_anatomy 0.5 2",
      "mmlu_other 1 1",
      "mmlu_virology 1 1",
      "mmlu_humanities 1 1",
      "mmlu_world_religions 1 1",
    ],
  );
});

Deno.test("what follows the words is the answer, up to the full stop", async () => {
  const task = taskOf("bbh");
  const shown = "canary\n-----\nSort.\n\nQ: b a\nA: Let's think step by step." +
    " So the answer is a b.\n";
  const examples = [{ input: "d c", target: "c d" }];
  const read = (prompt: string, questions: unknown) =>
    task.read((name) =>
      Promise.resolve({
        path: name,
        text: name.endsWith("txt") ? prompt : JSON.stringify(questions),
      })
    );
  const [asked] = askedOf(task, await read(shown, { examples }), { shots: 1 });
  assert.equal(
    asked.preamble,
    "Sort.\n\nQ: b a\nA: Let's think step by step.\nSo the answer is a b.\n\n",
  );
  const [item] = asked.questions;
  assert(item.kind === "generation");
  assert.equal(item.context, "Q: d c\nA: Let's think step by step.\n");
  const score = (text: string) => item.scoresOf(text).exact_match;
  assert.deepEqual(
    ["So the answer is c d.\n", "the answer is c d", "c d.", ""].map(score),
    [1, 0, 0, 0],
  );
  const wrong: [string, unknown, RegExp][] = [
    [
      "nothing",
      { examples },
      /boolean_expressions\.txt: there are no examples/,
    ],
    ["-\n-----\nQ: b a", { examples }, /\.txt: an example lacks "A: Let's/],
    [shown, {}, /boolean_expressions\.json: there is no list of questions/],
    [
      shown,
      { examples: [{ input: "d c" }] },
      /question 1: "target" is missing/,
    ],
  ];
  for (const [prompt, questions, message] of wrong) {
    await assert.rejects(read(prompt, questions), message);
  }
});

Deno.test("pass@k is the chance that one of k texts passes", async () => {
  const record = {
    prompt: "def one():\n",
    canonical_solution: "    return 1\n",
    test: "def check(candidate):\n    assert candidate() == 1\n",
    entry_point: "one",
  };
  const [item] = await itemsOf(humanEval({ k: [1, 2, 4], samples: 4 }), [
    record,
  ]);
  assert(item.kind === "program");
  assert.equal(
    item.programOf("    return 2"),
    "def one():\n    return 2\ndef check(candidate):\n    assert candidate() == 1\n\ncheck(one)",
  );
  // Of 4, 2 pass: 2 drawn both fail once in 6 pairs.
  const scores = item.scoresOf([true, false, true, false]);
  assert.deepEqual(Object.keys(scores), ["pass@1", "pass@2", "pass@4"]);
  assert.equal(scores["pass@1"], 0.5);
  assert.ok(Math.abs(scores["pass@2"] - 5 / 6) < 1e-12);
  assert.equal(scores["pass@4"], 1);
  assert.throws(
    () => humanEval({ k: [10], samples: 5 }),
    /pass@10 from 5 texts/,
  );
});
