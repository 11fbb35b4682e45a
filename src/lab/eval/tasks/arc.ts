/**
 * ARC, easy and challenge: questions of school science with several answers.
 *
 * @module
 */
import { choiceItem, type EvalTask } from "../task.ts";

/** The questions that simple methods answer. */
export const arcEasy: EvalTask = {
  name: "arc_easy",
  files: ["arc_easy.jsonl"],
  metrics: ["acc", "acc_norm"],
  shots: 0,
  item: (record) => choiceItem(`${record.text("query")}\nAnswer:`, record),
};

/** Those that they do not. */
export const arcChallenge: EvalTask = {
  ...arcEasy,
  name: "arc_challenge",
  files: ["arc_challenge.jsonl"],
};
