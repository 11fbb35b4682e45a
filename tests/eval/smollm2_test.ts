/**
 * A real model's log-likelihoods against native llama.cpp, which put the prompts
 * together and made ids of them by itself (goldens/smollm2_eval.json says how).
 * Both round activations to 8 bits, each in its way: single candidates part by
 * some tenths of a nat, which cancel out over many.
 */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { evaluateTask } from "../../src/eval/evaluate.ts";
import { readItems } from "../../src/eval/task.ts";
import { evalTasks } from "../../src/eval/tasks.ts";
import golden from "../goldens/smollm2_eval.json" with { type: "json" };
import { sharedUrl } from "../helpers/shared_data.ts";

interface GoldenItem {
  readonly logprobs: readonly number[];
  /** Of a task with choices */
  readonly gold?: number;
  /** Of a cloze: whether its tokens were the likeliest */
  readonly greedy?: boolean;
}

const path = new URL(`../../.cache/models/${golden.model}`, import.meta.url);
const exists = (url: URL) => Deno.stat(url).then(() => true, () => false);
/** Absent: `deno task fetch:smollm2`. */
const ignore = !await exists(path) || !await exists(sharedUrl("data/tasks"));

function isRight({ logprobs, gold, greedy }: GoldenItem): boolean {
  return greedy ?? logprobs.indexOf(Math.max(...logprobs)) === gold;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

Deno.test({
  name: "SmolLM2: tasks' log-likelihoods and accuracy are llama.cpp's",
  ignore,
  async fn() {
    await using model = await load(path, { contextSize: 2048, threads: 2 });
    const tasks: Record<string, readonly GoldenItem[]> = golden.tasks;
    const all = { ours: 0, theirs: 0 };
    for (const [name, expected] of Object.entries(tasks)) {
      const task = evalTasks.find((each) => each.name === name)!;
      const file = task.files.at(-1)!;
      const text = await Deno.readTextFile(sharedUrl(`data/tasks/${file}`));
      const items = readItems(task, text, file);
      const limit = expected.length;
      const outcomes = await Array.fromAsync(
        evaluateTask(model, task, items, { limit }),
      );
      const ours = outcomes.flatMap(({ logprobs }) => logprobs!);
      const theirs = expected.flatMap(({ logprobs }) => logprobs);
      assert.equal(ours.length, theirs.length, name);
      all.ours += sum(ours);
      all.theirs += sum(theirs);
      const ratio = sum(ours) / sum(theirs);
      // A last word has few tokens, over which little cancels out.
      const most = name === "lambada_openai" ? 0.05 : 0.01;
      assert.ok(Math.abs(ratio - 1) < most, `${name}: ratio ${ratio}`);
      const square = sum(ours.map((value, i) => (value - theirs[i]) ** 2));
      const apart = Math.sqrt(square / ours.length);
      assert.ok(apart < 0.7, `${name}: ${apart} nats apart`);
      const right = sum(outcomes.map(({ scores }) => scores.acc));
      const theirRight = expected.filter(isRight).length;
      assert.ok(
        Math.abs(right - theirRight) <= 2,
        `${name}: ${right} right, not ${theirRight}`,
      );
    }
    const ratio = all.ours / all.theirs;
    assert.ok(Math.abs(ratio - 1) < 0.005, `all tasks: ratio ${ratio}`);
  },
});
