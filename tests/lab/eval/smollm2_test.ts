/**
 * A real model's log-likelihoods against native llama.cpp, which put the prompts
 * together and made ids of them by itself (goldens/smollm2_eval.json says how).
 * The weights of the Q4_1 file run as F32: with quantised ones both round
 * activations to 8 bits, each in its way, which parts single candidates by some
 * tenths of a nat.
 */
import assert from "node:assert/strict";
import { load } from "../../../mod.ts";
import { openFile } from "../../../gguf.ts";
import { convert } from "../../../src/convert/convert.ts";
import { evaluateTask } from "../../../src/lab/eval/evaluate.ts";
import golden from "../../goldens/smollm2_eval.json" with { type: "json" };
import { tempFolder } from "../../cli/temp_folder.ts";
import { smollm2Url, testWithSmolLM2 } from "../../helpers/smollm2.ts";
import { askedOfFiles, taskFiles, taskOf } from "./asked_lines.ts";

interface GoldenItem {
  readonly logprobs: readonly number[];
  /** Of a task with choices */
  readonly gold?: number;
  /** Of a cloze: whether its tokens were the likeliest */
  readonly greedy?: boolean;
}

function isRight({ logprobs, gold, greedy }: GoldenItem): boolean {
  return greedy ?? logprobs.indexOf(Math.max(...logprobs)) === gold;
}

/** Writes the model with all its weights as F32. */
async function writeF32(to: string): Promise<void> {
  const source = await openFile(smollm2Url);
  try {
    const made = await convert(source, { type: "F32" });
    await Deno.writeFile(to, ReadableStream.from(made.chunks()));
    await made.close();
  } finally {
    await source.close();
  }
}

/** How many items of each task are computed, of those that the golden has. */
const limit = 4;

testWithSmolLM2(
  "tasks' log-likelihoods and accuracy are llama.cpp's",
  taskFiles,
  async () => {
    await using folder = await tempFolder();
    const f32 = `${folder.path}/f32.gguf`;
    await writeF32(f32);
    await using model = await load(f32, { contextSize: 2048, threads: 2 });
    const tasks: Record<string, readonly GoldenItem[]> = golden.tasks;
    for (const [name, all] of Object.entries(tasks)) {
      const expected = all.slice(0, limit);
      const task = taskOf(name);
      const asked = await askedOfFiles(task, { limit });
      const outcomes = await Array.fromAsync(evaluateTask(model, task, asked));
      outcomes.forEach(({ logprobs, scores }, i) => {
        const theirs = expected[i];
        assert.equal(logprobs!.length, theirs.logprobs.length, name);
        logprobs!.forEach((ours, k) => {
          const ratio = ours / theirs.logprobs[k];
          assert.ok(
            Math.abs(ratio - 1) < 0.005,
            `${name} ${i}, candidate ${k}: ratio ${ratio}`,
          );
        });
        assert.equal(scores.acc, Number(isRight(theirs)), `${name} ${i}`);
      });
    }
  },
);
