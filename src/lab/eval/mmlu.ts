/** MMLU: examinations of 57 subjects, four choices each, answered by their letter. */
import {
  choiceItem,
  type EvalTask,
  type Item,
  readLines,
  type TaskRecord,
} from "./task.ts";

/** The subjects, by lm-evaluation-harness's groups. */
const groups: Readonly<Record<string, readonly string[]>> = {
  stem: [
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "electrical_engineering",
    "elementary_mathematics",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_mathematics",
    "high_school_physics",
    "high_school_statistics",
    "machine_learning",
  ],
  other: [
    "business_ethics",
    "clinical_knowledge",
    "college_medicine",
    "global_facts",
    "human_aging",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "nutrition",
    "professional_accounting",
    "professional_medicine",
    "virology",
  ],
  social_sciences: [
    "econometrics",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_microeconomics",
    "high_school_psychology",
    "human_sexuality",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
  ],
  humanities: [
    "formal_logic",
    "high_school_european_history",
    "high_school_us_history",
    "high_school_world_history",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "moral_disputes",
    "moral_scenarios",
    "philosophy",
    "prehistory",
    "professional_law",
    "world_religions",
  ],
};
const groupOf = new Map(
  Object.entries(groups).flatMap(([group, subjects]) =>
    subjects.map((subject) => [subject, group])
  ),
);
const letters = ["A", "B", "C", "D"];

/** One line a question, with its `subject`; those of the split `dev` are the examples. */
export const mmlu: EvalTask = {
  name: "mmlu",
  metrics: ["acc"],
  shots: 5,
  async read(files) {
    const records = readLines(await files("mmlu.jsonl", "mmlu.jsonl.xz"));
    const bySubject = Map.groupBy(
      records,
      (record) => record.oneOf("subject", [...groupOf.keys()]),
    );
    // By groups, and in them by name, whatever the file's order.
    return [...groupOf].flatMap(([subject, group]) => {
      const own = bySubject.get(subject);
      if (!own) return [];
      const items = (split: string) =>
        own.filter((record) =>
          record.oneOf("split", ["dev", "val", "test"]) === split
        ).map(item);
      return [{
        name: `mmlu_${subject}`,
        group: `mmlu_${group}`,
        description:
          `The following are multiple choice questions (with answers) about ${
            subject.replaceAll("_", " ")
          }.\n\n`,
        examples: items("dev"),
        questions: items("test"),
      }];
    });
  },
};

function item(record: TaskRecord): Item {
  const choices = record.texts("choices", letters.length);
  const lines = choices.map((choice, i) => `${letters[i]}. ${choice}`);
  return choiceItem(
    [record.text("question").trim(), ...lines, "Answer:"].join("\n"),
    letters,
    record.index("answer", letters.length),
  );
}
