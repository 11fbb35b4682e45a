/** HumanEval: Python functions to be written from their head and description, and run against tests. */
import { UsageError } from "../../errors.ts";
import { type EvalTask, linesOf } from "./task.ts";

/** How many texts are written, and how many of them may be tried. */
export interface HumanEvalOptions {
  /** For each k: the chance that one of k texts passes. Default [1]. */
  readonly k?: readonly number[];
  /** Texts for each question, from which that is estimated. Default: the largest k. */
  readonly samples?: number;
}

/**
 * HumanEval with other numbers of texts than one. Several are drawn at a
 * temperature of 0.2 from the likeliest 95%, one is the likeliest.
 *
 * @throws {UsageError} where some k is more than there are texts
 */
export function humanEval(
  { k = [1], samples = Math.max(...k) }: HumanEvalOptions = {},
): EvalTask {
  const most = Math.max(...k);
  if (most > samples) {
    throw new UsageError(
      `Cannot estimate pass@${most} from ${samples} texts for each question`,
    );
  }
  return {
    name: "humaneval",
    metrics: k.map((each) => `pass@${each}`),
    shots: 0,
    fixedShots: true,
    until: ["\nclass", "\ndef", "\n#", "\nif", "\nprint"],
    maxTokens: 1024,
    samples,
    read: linesOf("humaneval", ["humaneval.jsonl"], (record) => {
      const context = record.text("prompt");
      const tests = `${record.text("test")}\ncheck(${
        record.text("entry_point")
      })`;
      return {
        kind: "program",
        context,
        solution: record.text("canonical_solution"),
        programOf: (text) => `${context}${text}\n${tests}`,
        scoresOf: (passed) =>
          Object.fromEntries(
            k.map((each) => [`pass@${each}`, passAt(each, passed)]),
          ),
      };
    }),
  };
}

/** The chance that one of k texts passes, which are drawn from these: one less that of k failures. */
function passAt(k: number, passed: readonly boolean[]): number {
  const failed = passed.filter((each) => !each).length;
  let allFail = 1;
  for (let drawn = 0; drawn < k; drawn++) {
    allFail *= Math.max(0, failed - drawn) / (passed.length - drawn);
  }
  return 1 - allFail;
}
