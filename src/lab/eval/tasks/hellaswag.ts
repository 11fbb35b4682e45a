/**
 * HellaSwag: how does a scene go on?
 *
 * @module
 */
import { choiceItem, type EvalTask } from "../task.ts";

/** Contexts begin with the activity, and are cleaned of markup already. */
export const hellaswag: EvalTask = {
  name: "hellaswag",
  files: ["hellaswag.jsonl", "hellaswag_1000.jsonl"],
  metrics: ["acc", "acc_norm"],
  shots: 0,
  item: (record) => choiceItem(record.text("query"), record),
};
