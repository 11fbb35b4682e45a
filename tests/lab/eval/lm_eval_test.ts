/**
 * Every task against lm-evaluation-harness (goldens/lm_eval_tasks.json says how
 * it was run): the prompts to the byte, and the metrics on the same answers,
 * which are made of hashes of the prompts.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Asked } from "../../../src/lab/eval/asked.ts";
import type { Outcome } from "../../../src/lab/eval/evaluate.ts";
import { summarise } from "../../../src/lab/eval/summary.ts";
import type { EvalTask, Item } from "../../../src/lab/eval/task.ts";
import { evalTasks } from "../../../src/lab/eval/tasks.ts";
import golden from "../../goldens/lm_eval_tasks.json" with { type: "json" };
import { dataUrl, testWithData } from "../../helpers/shared_data.ts";
import { askedOfFiles, taskFiles } from "./asked_lines.ts";

function hashOf(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/** What is asked of a model, in lm-evaluation-harness's order: context and continuation, or context and settings. */
function requestsOf(
  { until, maxTokens = 256 }: EvalTask,
  preamble: string,
  item: Item,
): [string, string][] {
  switch (item.kind) {
    case "choice":
      return item.candidates.map(({ context, continuation }) => [
        preamble + context,
        continuation,
      ]);
    case "cloze":
      return [[preamble + item.context, item.continuation]];
    case "generation":
    case "program": {
      const stops = until!.map((stop) => JSON.stringify(stop)).join(", ");
      return [[preamble + item.context, `[[${stops}], ${maxTokens}]`]];
    }
  }
}

/** What the golden's model answers. */
function outcomeOf(
  task: EvalTask,
  preamble: string,
  item: Item,
  right: string | undefined,
): Outcome {
  const requests = requestsOf(task, preamble, item);
  const hashes = requests.map(([context, continuation]) =>
    hashOf(`${context}|${continuation}`)
  );
  const logprobs = hashes.map(([high, low]) => -(256 * high + low) / 1024);
  switch (item.kind) {
    case "choice":
      return { scores: item.scoresOf(logprobs), logprobs };
    case "cloze":
      return { scores: { acc: Number(hashes[0][2] % 2 === 0) }, logprobs };
    case "generation":
      return {
        scores: item.scoresOf(writtenBehind(requests[0][0], right!)),
      };
    case "program": {
      const program = item.programOf(writtenBehind(requests[0][0], ""));
      return { scores: item.scoresOf([hashOf(program)[0] % 2 === 0]) };
    }
  }
}

function writtenBehind(context: string, right: string): string {
  return [
    `So the answer is ${right}.\n#### ${right}`,
    "So the answer is 41.\n#### 41",
    `Perhaps ${right}`,
    `the answer is\nthe answer is ${right}. #### $${right}.`,
  ][hashOf(context)[0] % 4];
}

/** The right answers of tasks that ask for texts, in the files' order. */
async function rightAnswers(name: string, count: number): Promise<string[]> {
  if (name === "gsm8k") {
    const text = await Deno.readTextFile(dataUrl("tasks/gsm8k.jsonl"));
    return text.trim().split("\n").slice(5, 5 + count).map((line) =>
      JSON.parse(line).answer
    );
  }
  if (!name.startsWith("bbh_")) return [];
  const file = name.replace("bbh_cot_fewshot_", "tasks/bbh/") + ".json";
  const { examples } = JSON.parse(await Deno.readTextFile(dataUrl(file)));
  return examples.slice(0, count).map(({ target }: { target: string }) =>
    target
  );
}

/** How lm-evaluation-harness calls the metrics that go by another name here. */
const theirNames: Readonly<Record<string, string>> = {
  "exact_match,strict": "exact_match,strict-match",
  "exact_match,flexible": "exact_match,flexible-extract",
  "exact_match": "exact_match,get-answer",
  "pass@1": "pass@1,create_test",
};

type Golden = Readonly<Record<string, string | readonly number[]>>;

testWithData(
  "prompts and metrics are lm-evaluation-harness's",
  taskFiles,
  async (t) => {
    for (const task of evalTasks) {
      await t.step(task.name, async () => {
        const asked = await askedOfFiles(task, { limit: golden.count });
        const theirs: Record<string, Golden> =
          golden.tasks[task.name as keyof typeof golden.tasks];
        const outcomes: Outcome[] = [];
        for (const { subject, preamble, questions } of asked) {
          const requests = questions.flatMap((item) =>
            requestsOf(task, preamble, item)
          );
          const digest = createHash("sha256").update(JSON.stringify(requests))
            .digest("hex");
          const { prompts } = theirs[subject.name];
          assert.equal(digest.slice(0, 16), prompts, subject.name);
          const right = await rightAnswers(subject.name, golden.count);
          outcomes.push(
            ...questions.map((item, i) =>
              outcomeOf(task, preamble, item, right[i])
            ),
          );
        }
        compare(task, asked, outcomes, theirs);
      });
    }
  },
);

function compare(
  task: EvalTask,
  asked: readonly Asked[],
  outcomes: readonly Outcome[],
  theirs: Readonly<Record<string, Golden>>,
): void {
  const rows = summarise(task, asked, outcomes);
  assert.deepEqual(
    rows.map(({ name }) => name).filter((name, i, all) => name !== all[i - 1])
      .toSorted(),
    Object.keys(theirs).toSorted(),
  );
  for (const { name, metric, value, stderr } of rows) {
    const expected = theirs[name][theirNames[metric] ?? metric];
    // Of a perplexity they draw samples, so that there is nothing to compare.
    const ours = [value, stderr].slice(0, expected.length);
    ours.forEach((each, i) => {
      const difference = Math.abs(each / Number(expected[i]) - 1);
      assert.ok(
        difference < 1e-6,
        `${name} ${metric}: ${each}, ${expected[i]}`,
      );
    });
  }
}
