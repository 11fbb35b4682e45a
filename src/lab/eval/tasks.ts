import { choiceItem, type EvalTask } from "./task.ts";

/** ARC: questions of school science with several answers; easy are those that simple methods answer. */
const arc: Omit<EvalTask, "name" | "files"> = {
  metrics: ["acc", "acc_norm"],
  shots: 0,
  item: (record) => choiceItem(`${record.text("query")}\nAnswer:`, record),
};

/** GSM8K: what `strict` reads of an answer: the number behind the mark that the examples use. */
const marked = /#### (-?[0-9.,]+)/;
/** What `flexible` reads: the last number. */
const numbers = /-?[$0-9.,]{2,}|-?[0-9]+/g;

/** A number as answers are compared: without commas, dollars and a full stop at the end. */
function normal(answer: string | undefined): string | undefined {
  return answer?.replace(/[,$]/g, "").replace(/\.$/, "");
}

/** Every task, in the order in which they are run. */
export const evalTasks: readonly EvalTask[] = [
  { name: "arc_easy", files: ["arc_easy.jsonl"], ...arc },
  { name: "arc_challenge", files: ["arc_challenge.jsonl"], ...arc },
  {
    // How does a scene go on? Contexts begin with the activity, and are cleaned of markup already.
    name: "hellaswag",
    files: ["hellaswag.jsonl", "hellaswag_1000.jsonl"],
    metrics: ["acc", "acc_norm"],
    shots: 0,
    item: (record) => choiceItem(record.text("query"), record),
  },
  {
    // Which of two ways reaches a goal in the physical world? The query ends with its line.
    name: "piqa",
    files: ["piqa.jsonl"],
    metrics: ["acc", "acc_norm"],
    shots: 0,
    item(record) {
      const question = record.text("query").replace(/\n$/, "");
      return choiceItem(`${question}\nAnswer:`, record);
    },
  },
  {
    // For whom does a name stand? Each choice is put into the sentence, and what
    // follows the blank is scored, the same words for all.
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
  },
  {
    // The last word of a passage, which only the whole of it tells; OpenAI's version.
    name: "lambada_openai",
    files: ["lambada_openai.jsonl"],
    metrics: ["perplexity", "acc"],
    shots: 0,
    item: (record) => ({
      kind: "cloze",
      context: record.text("context"),
      continuation: ` ${record.text("continuation")}`,
    }),
  },
  {
    // Sums in words. The model is shown worked answers, the file's first five, and writes its own.
    name: "gsm8k",
    files: ["gsm8k.jsonl"],
    metrics: ["exact_match,flexible", "exact_match,strict"],
    shots: 5,
    until: ["Question:", "</s>", "<|im_end|>"],
    item(record) {
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
    },
  },
];
