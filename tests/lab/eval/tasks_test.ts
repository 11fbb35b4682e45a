import assert from "node:assert/strict";
import { FormatError } from "../../../src/errors.ts";
import { preambleOf } from "../../../src/lab/eval/prompt.ts";
import {
  type EvalTask,
  type Item,
  readItems,
} from "../../../src/lab/eval/task.ts";
import { evalTasks } from "../../../src/lab/eval/tasks.ts";
import { dataUrl, hasShared, testWithData } from "../../helpers/shared_data.ts";

function task(name: string): EvalTask {
  return evalTasks.find((each) => each.name === name)!;
}

function itemOf(name: string, record: Record<string, unknown>): Item {
  return readItems(task(name), JSON.stringify(record), "file")[0];
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
      return [`${item.context}|`];
  }
}

Deno.test("prompts are lm-evaluation-harness's", () => {
  const choices = ["gray", "warm"];
  const query = "Question: What is fur?";
  for (const name of ["arc_easy", "arc_challenge"]) {
    assert.deepEqual(prompts(itemOf(name, { query, choices, gold: 1 })), [
      "Question: What is fur?\nAnswer:| gray",
      "Question: What is fur?\nAnswer:| warm",
    ]);
  }
  assert.deepEqual(
    prompts(itemOf("piqa", { query: query + "\n", choices, gold: 0 })),
    prompts(itemOf("arc_easy", { query, choices, gold: 0 })),
  );
  assert.deepEqual(
    prompts(itemOf("hellaswag", { query: "Tango: A man", choices, gold: 0 })),
    ["Tango: A man| gray", "Tango: A man| warm"],
  );
  assert.deepEqual(
    prompts(itemOf("winogrande", {
      context_options: ["so Sarah", "so Maria"],
      continuation: "slept.",
      gold: 0,
    })),
    ["so Sarah| slept.", "so Maria| slept."],
  );
  assert.deepEqual(
    prompts(
      itemOf("lambada_openai", { context: "I saw", continuation: "Ann" }),
    ),
    ["I saw| Ann"],
  );
  const sum = {
    context: "How much is 2 and 3?",
    chain_of_thought: "It is 2+3=<<2+3=5>>5.",
    answer: "5",
  };
  assert.deepEqual(prompts(itemOf("gsm8k", sum)), [
    "Question: How much is 2 and 3?\nAnswer:|",
  ]);
  assert.equal(
    preambleOf([
      itemOf("gsm8k", sum),
      itemOf("piqa", { query, choices, gold: 1 }),
    ]),
    "Question: How much is 2 and 3?\nAnswer: It is 2+3=<<2+3=5>>5.\n#### 5\n\n" +
      "Question: What is fur?\nAnswer: warm\n\n",
  );
});

Deno.test("sums are read as lm-evaluation-harness reads them", () => {
  const scores = (answer: string, text: string): string => {
    const item = itemOf("gsm8k", {
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
    assert.equal(scores(answer, text), expected, `${answer}: ${text}`);
  }
});

Deno.test("a line that lacks a field is told by its number", () => {
  const good = JSON.stringify({ query: "a", choices: ["b", "c"], gold: 1 });
  const refused: [string, RegExp][] = [
    ["{", /file, line 2: it is no JSON object/],
    ["[]", /line 2: "choices" is missing|line 2: "query" is missing/],
    ["null", /line 2: it is no JSON object/],
    [good.replace('"a"', "3"), /line 2: "query" is 3, needs a text/],
    [good.replace('["b","c"]', '["b"]'), /"choices" is \["b"\], needs a list/],
    [good.replace("1}", "2}"), /"gold" is 2, needs a whole number below 2/],
    [good.replace("1}", '"1"}'), /"gold" is "1", needs a whole number below 2/],
  ];
  assert.equal(readItems(task("piqa"), `${good}\n\n${good}\n`, "").length, 2);
  for (const [line, message] of refused) {
    assert.throws(
      () => readItems(task("piqa"), `${good}\n${line}`, "file"),
      (error) => error instanceof FormatError && message.test(error.message),
      line,
    );
  }
});

/** Where a task's file lies among the public ones. */
const pathOf = ({ files }: EvalTask): string => {
  const paths = files.map((file) => `tasks/${file}`);
  return paths.find((path) => hasShared(`data/${path}`)) ?? paths[0];
};

testWithData(
  "every line of the tasks' real files is an item",
  evalTasks.map(pathOf),
  async (t) => {
    for (const each of evalTasks) {
      await t.step(each.name, async () => {
        const text = await Deno.readTextFile(dataUrl(pathOf(each)));
        const items = readItems(each, text, each.name);
        assert.equal(items.length, text.trim().split("\n").length);
        for (const item of items) {
          for (const prompt of prompts(item)) {
            assert.match(prompt, /\|( |$)/, "the answer brings its space");
          }
        }
      });
    }
  },
);
