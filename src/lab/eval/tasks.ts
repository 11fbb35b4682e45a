import { bbh } from "./bbh.ts";
import { humanEval } from "./humaneval.ts";
import { mmlu } from "./mmlu.ts";
import { choiceItem, type EvalTask, linesOf, type TaskRecord } from "./task.ts";
import { truthfulQaMc1, truthfulQaMc2 } from "./truthfulqa.ts";

/** The choices of a record, as llm-foundry has them, behind a context. */
function chosen(context: string, record: TaskRecord) {
  const choices = record.texts("choices");
  return choiceItem(context, choices, record.index("gold", choices.length));
}

/** ARC: questions of school science with several answers; easy are those that simple methods answer. */
function arc(name: string): EvalTask {
  return {
    name,
    metrics: ["acc", "acc_norm"],
    shots: 0,
    read: linesOf(
      name,
      [`${name}.jsonl`],
      (record) => chosen(`${record.text("query")}\nAnswer:`, record),
    ),
  };
}

/** How does a scene go on? Contexts begin with the activity, and are cleaned of markup already. */
const hellaswag: EvalTask = {
  name: "hellaswag",
  metrics: ["acc", "acc_norm"],
  shots: 0,
  read: linesOf(
    "hellaswag",
    ["hellaswag.jsonl", "hellaswag_1000.jsonl"],
    (record) => chosen(record.text("query"), record),
  ),
};

/** Which of two ways reaches a goal in the physical world? The query ends with its line. */
const piqa: EvalTask = {
  name: "piqa",
  metrics: ["acc", "acc_norm"],
  shots: 0,
  read: linesOf("piqa", ["piqa.jsonl"], (record) => {
    const question = record.text("query").replace(/\n$/, "");
    return chosen(`${question}\nAnswer:`, record);
  }),
};

/**
 * For whom does a name stand? Each choice is put into the sentence, and what
 * follows the blank is scored, the same words for all.
 */
const winogrande: EvalTask = {
  name: "winogrande",
  metrics: ["acc"],
  shots: 0,
  read: linesOf("winogrande", ["winogrande.jsonl"], (record) => {
    const contexts = record.texts("context_options");
    const rest = record.text("continuation");
    const gold = record.index("gold", contexts.length);
    const item = choiceItem("", contexts.map(() => rest), gold);
    return {
      ...item,
      candidates: item.candidates.map(({ continuation }, i) => ({
        context: contexts[i],
        continuation,
      })),
    };
  }),
};

/** The last word of a passage, which only the whole of it tells; OpenAI's version. */
const lambada: EvalTask = {
  name: "lambada_openai",
  metrics: ["perplexity", "acc"],
  shots: 0,
  read: linesOf("lambada_openai", ["lambada_openai.jsonl"], (record) => ({
    kind: "cloze",
    context: record.text("context"),
    continuation: ` ${record.text("continuation")}`,
  })),
};

/** GSM8K: what `strict` reads of an answer: the number behind the mark that the examples use. */
const marked = /#### (-?[0-9.,]+)/;
/** What `flexible` reads: the last number. */
const numbers = /-?[$0-9.,]{2,}|-?[0-9]+/g;

/** A number as answers are compared: without commas, dollars and a full stop at the end. */
function normal(answer: string | undefined): string | undefined {
  return answer?.replace(/[,$]/g, "").replace(/\.$/, "");
}

/** Sums in words. The model is shown worked answers, the file's first five, and writes its own. */
const gsm8k: EvalTask = {
  name: "gsm8k",
  metrics: ["exact_match,flexible", "exact_match,strict"],
  shots: 5,
  until: ["Question:", "</s>", "<|im_end|>"],
  read: linesOf("gsm8k", ["gsm8k.jsonl"], (record) => {
    const answer = record.text("answer");
    const score = (found: string | undefined) =>
      Number(normal(found) === normal(answer));
    return {
      kind: "generation",
      context: `Question: ${record.text("context")}\nAnswer:`,
      solution: ` ${record.text("chain_of_thought")}\n#### ${answer}`,
      scoresOf: (text) => ({
        "exact_match,strict": score(text.match(marked)?.[1]),
        "exact_match,flexible": score(text.match(numbers)?.at(-1)),
      }),
    };
  }),
};

/** Every task, in the order in which they are run. */
export const evalTasks: readonly EvalTask[] = [
  arc("arc_easy"),
  arc("arc_challenge"),
  hellaswag,
  piqa,
  winogrande,
  lambada,
  gsm8k,
  truthfulQaMc1,
  truthfulQaMc2,
  mmlu,
  bbh,
  humanEval(),
];
