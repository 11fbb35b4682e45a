/**
 * GSM8K: sums in words. The model is shown worked answers and writes its own.
 *
 * @module
 */
import type { EvalTask } from "../task.ts";

/** What `strict` reads of an answer: the number behind the mark that the examples use. */
const marked = /#### (-?[0-9.,]+)/;
/** What `flexible` reads: the last number. */
const numbers = /-?[$0-9.,]{2,}|-?[0-9]+/g;

/** A number as answers are compared: without commas, dollars and a full stop at the end. */
function normal(answer: string | undefined): string | undefined {
  return answer?.replace(/[,$]/g, "").replace(/\.$/, "");
}

/** Five examples, of which this file's first are taken. */
export const gsm8k: EvalTask = {
  name: "gsm8k",
  files: ["gsm8k.jsonl"],
  metrics: ["exact_match,flexible", "exact_match,strict"],
  shots: 5,
  until: ["Question:", "</s>", "<|im_end|>"],
  item(record) {
    const answer = record.text("answer");
    const right = normal(answer);
    return {
      kind: "generation",
      context: `Question: ${record.text("context")}\nAnswer:`,
      solution: ` ${record.text("chain_of_thought")}\n#### ${answer}`,
      scoresOf: (text) => ({
        "exact_match,strict": Number(normal(text.match(marked)?.[1]) === right),
        "exact_match,flexible": Number(
          normal(text.match(numbers)?.at(-1)) === right,
        ),
      }),
    };
  },
};
