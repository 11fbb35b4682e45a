import golden from "../goldens/lm_eval_tasks.json" with { type: "json" };

/** Writes the files of the tasks of Bamboo's page, with as few questions as they may have. */
export async function writeBambooTasks(folder: string): Promise<void> {
  const write = (name: string, text: string) =>
    Deno.writeTextFile(`${folder}/${name}`, text);
  const line = (record: object) => JSON.stringify(record) + "\n";
  const query = "Tom had a", choices = ["ball.", "zq zq zq zq."];
  const choice = line({ query, choices, gold: 0 });
  await write("arc_challenge.jsonl", choice.repeat(26));
  await write("hellaswag.jsonl", choice.repeat(11));
  const blank = {
    context_options: ["Tom", "Zq zq zq"],
    continuation: "had a ball.",
    gold: 0,
  };
  await write("winogrande.jsonl", line(blank).repeat(6));
  const sum = {
    context: "Tom had a ball.",
    chain_of_thought: "He had a ball.",
    answer: "1",
  };
  await write("gsm8k.jsonl", line(sum).repeat(6));
  const exam = {
    subject: "anatomy",
    split: "dev",
    question: "Who?",
    choices: ["Tom", "Lily", "Ben", "Mom"],
    answer: 0,
  };
  await write(
    "mmlu.jsonl",
    line(exam).repeat(5) + line({ ...exam, split: "test" }),
  );
  const question = { question: "Is it?", mc2_targets: { "Yes.": 1, "No.": 0 } };
  await write("truthfulqa_mc.json", JSON.stringify([question]));
  const program = {
    // What the model writes stands in a text, and changes nothing.
    prompt: "one = 1\n'''",
    canonical_solution: "'''",
    test: "'''\ndef check(one):\n  assert one == 1\n",
    entry_point: "one",
  };
  await write("humaneval.jsonl", line(program));
  await Deno.mkdir(`${folder}/bbh`);
  for (const name of Object.keys(golden.tasks.bbh)) {
    const file = name.replace("bbh_cot_fewshot_", "bbh/");
    const example = "Q: a\nA: Let's think step by step.\nIt is a.\n\n";
    await write(`${file}.txt`, `-\n-----\nSort.\n\n${example.repeat(3)}`);
    const examples = [{ input: "b", target: "b" }];
    await write(`${file}.json`, JSON.stringify({ examples }));
  }
}
