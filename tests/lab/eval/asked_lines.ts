/** What is asked of tasks: of single lines, and of the real files. */
import { fileURLToPath } from "node:url";
import { TaskFolder } from "../../../cli/commands/eval/task_folder.ts";
import {
  type Asked,
  askedOf,
  type AskOptions,
} from "../../../src/lab/eval/asked.ts";
import type { EvalTask, Item } from "../../../src/lab/eval/task.ts";
import { evalTasks } from "../../../src/lab/eval/tasks.ts";
import { dataUrl } from "../../helpers/shared_data.ts";

/** The task of a name. */
export function taskOf(name: string): EvalTask {
  return evalTasks.find((each) => each.name === name)!;
}

/** The items of a file's lines, given as text or as records. */
export async function itemsOf(
  task: EvalTask,
  lines: string | readonly unknown[],
): Promise<readonly Item[]> {
  const text = typeof lines === "string"
    ? lines
    : lines.map((line) => JSON.stringify(line)).join("\n");
  const file = { path: "file", text };
  const [{ questions }] = await task.read(() => Promise.resolve(file));
  return questions;
}

/** What is asked of some items. */
export function askedItems(
  task: EvalTask,
  questions: readonly Item[],
  options?: AskOptions,
): Asked[] {
  return askedOf(task, [{ name: task.name, questions }], options);
}

/** What is asked of the real files. */
export async function askedOfFiles(
  task: EvalTask,
  options?: AskOptions,
): Promise<Asked[]> {
  const folder = new TaskFolder(fileURLToPath(dataUrl("tasks")), task.name);
  return askedOf(task, await task.read(folder.files), options);
}

/** The real files without which tests of them are skipped. */
export const taskFiles: readonly string[] = [
  "arc_challenge.jsonl",
  "arc_easy.jsonl",
  "bbh",
  "gsm8k.jsonl",
  "hellaswag_1000.jsonl",
  "humaneval.jsonl",
  "lambada_openai.jsonl",
  "mmlu.jsonl.xz",
  "piqa.jsonl",
  "truthfulqa_mc.json",
  "winogrande.jsonl",
].map((name) => `tasks/${name}`);
