/**
 * WinoGrande: for whom does a name stand? Each choice is put into the sentence,
 * and what follows it is scored, the same words for all.
 *
 * @module
 */
import type { EvalTask } from "../task.ts";

/** Scored on the part of the sentence behind the blank. */
export const winogrande: EvalTask = {
  name: "winogrande",
  files: ["winogrande.jsonl"],
  metrics: ["acc"],
  shots: 0,
  item(record) {
    const contexts = record.texts("context_options");
    const rest = record.text("continuation");
    return {
      kind: "choice",
      candidates: contexts.map((context) => ({
        context,
        continuation: ` ${rest}`,
      })),
      choices: contexts.map(() => rest),
      gold: record.index("gold", contexts.length),
    };
  },
};
