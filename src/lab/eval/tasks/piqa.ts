/**
 * PIQA: which of two ways reaches a goal in the physical world?
 *
 * @module
 */
import { choiceItem, type EvalTask } from "../task.ts";

/** The query ends with its line: `Question: dresser\n`. */
export const piqa: EvalTask = {
  name: "piqa",
  files: ["piqa.jsonl"],
  metrics: ["acc", "acc_norm"],
  shots: 0,
  item(record) {
    const question = record.text("query").replace(/\n$/, "");
    return choiceItem(`${question}\nAnswer:`, record);
  },
};
