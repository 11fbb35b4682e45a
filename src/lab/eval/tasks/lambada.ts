/**
 * LAMBADA: the last word of a passage, which only the whole of it tells.
 *
 * @module
 */
import type { EvalTask } from "../task.ts";

/** OpenAI's version of the passages. */
export const lambada: EvalTask = {
  name: "lambada_openai",
  files: ["lambada_openai.jsonl"],
  metrics: ["perplexity", "acc"],
  shots: 0,
  item(record) {
    return {
      kind: "cloze",
      context: record.text("context"),
      continuation: ` ${record.text("continuation")}`,
    };
  },
};
