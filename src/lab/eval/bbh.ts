/**
 * BIG-Bench Hard: 27 tasks that take several steps, which the model is to write
 * down: its answer follows the words "the answer is".
 */
import { FormatError } from "../../errors.ts";
import {
  type EvalTask,
  type GenerationItem,
  type Item,
  readJson,
  readList,
  type TaskFile,
} from "./task.ts";

const subjects = [
  "boolean_expressions",
  "causal_judgement",
  "date_understanding",
  "disambiguation_qa",
  "dyck_languages",
  "formal_fallacies",
  "geometric_shapes",
  "hyperbaton",
  "logical_deduction_five_objects",
  "logical_deduction_seven_objects",
  "logical_deduction_three_objects",
  "movie_recommendation",
  "multistep_arithmetic_two",
  "navigate",
  "object_counting",
  "penguins_in_a_table",
  "reasoning_about_colored_objects",
  "ruin_names",
  "salient_translation_error_detection",
  "snarks",
  "sports_understanding",
  "temporal_sequences",
  "tracking_shuffled_objects_five_objects",
  "tracking_shuffled_objects_seven_objects",
  "tracking_shuffled_objects_three_objects",
  "web_of_lies",
  "word_sorting",
];

/** Files as suzgunmirac/BIG-Bench-Hard has them: questions in `NAME.json`, examples in `NAME.txt`. */
export const bbh: EvalTask = {
  name: "bbh",
  metrics: ["exact_match"],
  shots: 3,
  until: ["</s>", "Q", "\n\n"],
  maxTokens: 1024,
  read: (files) =>
    Promise.all(subjects.map(async (name) => {
      const prompts = await files(`bbh/${name}.txt`);
      const { path, text } = await files(`bbh/${name}.json`);
      const { examples } = Object(readJson(text, path)) as {
        examples?: unknown;
      };
      return {
        name: `bbh_cot_fewshot_${name}`,
        ...shownOf(prompts),
        questions: readList(examples, path).map((record) =>
          item(record.text("input"), "", record.text("target"))
        ),
      };
    })),
};

/** The step that the answer begins with; in single examples of the files a space follows in place of the line's end. */
const firstStep = "A: Let's think step by step.";

/** What stands behind the line of dashes: a description, then worked examples. */
function shownOf(
  { path, text }: TaskFile,
): { description: string; examples: Item[] } {
  const [, body] = text.split("\n-----\n");
  const [description, ...examples] = (body ?? "").trimEnd().split(/^Q: /m);
  if (examples.length === 0) {
    throw new FormatError(`Cannot read ${path}: there are no examples in it`);
  }
  return {
    description,
    examples: examples.map((example) => {
      const [question, steps] = example.split(`\n${firstStep}`);
      if (steps === undefined) {
        throw new FormatError(
          `Cannot read ${path}: an example lacks "${firstStep}"`,
        );
      }
      return item(question, steps.trim(), "");
    }),
  };
}

/** Up to the line's last character, which is the full stop. */
const answered = /(?<=the answer is ).*(?=.)/;

function item(
  question: string,
  solution: string,
  target: string,
): GenerationItem {
  return {
    kind: "generation",
    context: `Q: ${question}\n${firstStep}\n`,
    solution,
    scoresOf: (text) => ({
      exact_match: Number(answered.exec(text)?.[0].trim() === target),
    }),
  };
}
