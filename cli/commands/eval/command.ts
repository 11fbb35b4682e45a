import {
  type EvalTask,
  evalTasks,
  evaluateTask,
  type Item,
  type Outcome,
  parseSparsity,
  questionsOf,
  readItems,
  type Sparsity,
  summarise,
  UsageError,
} from "../../../mod.ts";
import type { CommandSpec } from "../../command.ts";
import {
  type EvalColumn,
  toJson,
  toSamples,
  toTable,
  valueOf,
} from "./output.ts";
import { fileName, formatLeft } from "../../format.ts";
import { readText } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel, modelFingerprint } from "../../model_file.ts";
import { BadFlags, group, option } from "../../option.ts";
import {
  benchLoadOptions,
  cacheTypeOf,
  type LoadFlags,
} from "../../options.ts";
import { exists } from "../../output_file.ts";
import { openIfGiven } from "../../output_flags.ts";
import { note, printable, ProgressBar, write } from "../../terminal.ts";
import { Checkpoint, sha256, stateOptions } from "../../checkpoint.ts";
import { paths, type ReadValue, wholeNumber } from "../../values.ts";

interface EvalFlags extends Omit<LoadFlags, "model" | "sparsity"> {
  readonly model?: string[];
  readonly sparsity?: string[];
  readonly data?: string;
  readonly tasks?: string;
  readonly limit?: number;
  readonly numFewshot?: number;
  readonly json?: true;
  readonly samples?: string;
  readonly state?: string;
  readonly force?: true;
}

/** What one column runs. */
interface Way {
  readonly name: string;
  readonly model: string | undefined;
  readonly sparsity: Sparsity;
  /** As the flag spells it */
  readonly mode: string;
}

/** A task with its items. */
interface Loaded {
  readonly task: EvalTask;
  readonly path: string;
  readonly items: readonly Item[];
  readonly questions: number;
  readonly hash: string;
}

/** Modes of a flag that may be given several times. */
const modes: ReadValue = (text, previous = []) => {
  parseSparsity(text);
  return [...previous as string[], text];
};

const names = evalTasks.map(({ name }) => name).join(",");

/** Asks a model the questions of benchmarks. */
export const evaluate: CommandSpec = {
  name: "eval",
  summary:
    "score models on benchmarks, with lm-evaluation-harness's prompts and metrics",
  options: [
    ...group(
      "Evaluation",
      option(
        "-m, --model <file>",
        "a column; may be repeated; left out: the embedded tiny-bamboo",
        paths,
      ),
      option(
        "--sparsity <mode>",
        "a column for each model in this mode (as generate's); may be repeated (default: exact)",
        modes,
      ),
      option(
        "--data <folder>",
        "where the tasks' files lie, as llm-foundry has them: arc_easy.jsonl",
      ),
      option(
        "--tasks <names>",
        `tasks, with commas between (default: ${names})`,
      ),
      option("--limit <n>", "most questions of a task", wholeNumber(1)),
      option(
        "--num-fewshot <n>",
        "examples before each question, a file's first (default: 5 in gsm8k, else 0)",
        wholeNumber(0),
      ),
      option("--json", "print the results as JSON"),
      option(
        "--samples <file>",
        "write what came of each question, a line of JSON each",
      ),
      option(
        "-c, --ctx-size <n>",
        "positions of context; 0 = the model's",
        wholeNumber(0),
        0,
      ),
      ...stateOptions("eval"),
    ),
    ...benchLoadOptions.filter(({ long }) =>
      long !== "--model" && long !== "--sparsity"
    ),
  ],
  examples: [
    "culm eval -m model.gguf --data tasks --tasks arc_easy,piqa --limit 200",
    "culm eval -m model.gguf --data tasks --sparsity dense --sparsity top-k=0.1",
  ],
  run,
};

async function run(flags: EvalFlags): Promise<number> {
  const ways = waysOf(flags);
  const tasks = await loadTasks(flags);
  using samples = await openIfGiven(
    flags.samples,
    flags,
    { inputs: tasks.map(({ path }) => path) },
  );
  const columns = await runAll(flags, ways, tasks);
  await write(flags.json ? toJson(columns) : toTable(columns));
  await samples?.writeText(toSamples(columns));
  return 0;
}

/** Each model in each mode. */
function waysOf({ model, sparsity = ["exact"] }: EvalFlags): Way[] {
  const models = model ?? [undefined];
  return models.flatMap((path) =>
    sparsity.map((mode) => {
      const file = fileName(path ?? "tiny-bamboo");
      const parts = [
        ...(models.length > 1 || sparsity.length === 1 ? [file] : []),
        ...(sparsity.length > 1 ? [mode] : []),
      ];
      const name = printable(parts.join(" "));
      return { name, model: path, mode, sparsity: parseSparsity(mode) };
    })
  );
}

async function loadTasks(flags: EvalFlags): Promise<Loaded[]> {
  const { data, tasks = names } = flags;
  if (data === undefined) {
    throw new BadFlags("Cannot evaluate without questions: give --data FOLDER");
  }
  const asked = tasks.split(",").map((name) => {
    const task = evalTasks.find((each) => each.name === name);
    if (task) return task;
    throw new BadFlags(`Cannot evaluate ${name}: the tasks are ${names}`);
  });
  return await Promise.all(asked.map(async (task) => {
    const path = await findFile(data, task);
    const text = await readText(path);
    const items = readItems(task, text, path);
    const questions = questionsOf(task, items, optionsOf(flags)).length;
    return { task, path, items, questions, hash: await sha256(text) };
  }));
}

async function findFile(folder: string, task: EvalTask): Promise<string> {
  for (const name of task.files) {
    const path = `${folder}/${name}`;
    if (await exists(path)) return path;
  }
  throw new UsageError(
    `Cannot evaluate ${task.name}: there is no ${
      task.files.join(" or ")
    } in ${folder}`,
  );
}

function optionsOf({ numFewshot, limit }: EvalFlags) {
  return { shots: numFewshot, limit };
}

async function runAll(
  flags: EvalFlags,
  ways: readonly Way[],
  tasks: readonly Loaded[],
): Promise<EvalColumn[]> {
  const { state, force, activation } = flags;
  const models = new Set(ways.map(({ model }) => model));
  using work = await Checkpoint.open(
    "eval",
    { state, force, model: ways[0].model },
    [
      await Promise.all(
        Array.from(models, (model) => modelFingerprint({ model, activation })),
      ),
      ways.map(({ mode }) => mode),
      tasks.map(({ task, hash, questions }) => [task.name, hash, questions]),
      [flags.numFewshot, flags.ctxSize, cacheTypeOf(flags)],
    ],
    readOutcome,
  );
  using interrupt = new Interrupt();
  const total = ways.length * sum(tasks.map(({ questions }) => questions));
  await work.goOn(total, "questions", async () => {
    for (const [i, way] of ways.entries()) {
      await runColumn(flags, way, tasks, i, work, interrupt);
    }
  });
  return ways.map((way, i) => columnOf(flags, way, tasks, i, work.results));
}

/** An outcome as it lies in a file, or undefined where it is none. */
function readOutcome(value: unknown): Outcome | undefined {
  const { scores, logprobs } = (value ?? {}) as Partial<Outcome>;
  const fits = typeof scores === "object" && scores !== null &&
    Object.values(scores).every(Number.isFinite) &&
    (logprobs === undefined ||
      Array.isArray(logprobs) && logprobs.every(Number.isFinite));
  return fits ? value as Outcome : undefined;
}

/** Runs what is left of a column's questions. */
async function runColumn(
  flags: EvalFlags,
  { name, model: path, sparsity }: Way,
  tasks: readonly Loaded[],
  column: number,
  work: Checkpoint<Outcome>,
  interrupt: Interrupt,
): Promise<void> {
  const each = sum(tasks.map(({ questions }) => questions));
  if (work.results.length >= (column + 1) * each) return;
  await using model = await loadModel(
    { ...flags, model: path, sparsity },
    interrupt,
  );
  const { signal } = interrupt;
  using bar = new ProgressBar(name);
  const start = performance.now(), startedAt = work.results.length;
  let first = column * each;
  for (const { task, items, questions } of tasks) {
    const skip = Math.min(questions, work.results.length - first);
    const options = { ...optionsOf(flags), skip, signal };
    for await (const outcome of evaluateTask(model, task, items, options)) {
      await work.add(outcome);
      const done = work.results.length - column * each;
      const here = work.results.length - startedAt;
      const left = formatLeft(start, here, each - done);
      bar.update(done, each, `${done} of ${each}, ${task.name}, ${left}`);
    }
    first += questions;
    const outcomes = work.results.slice(first - questions, first);
    const values = summarise(task, outcomes).map((summary) =>
      `${summary.metric} ${valueOf(summary)}`
    );
    note(`${name}, ${task.name}: ${values.join(", ")}`);
  }
}

function columnOf(
  { numFewshot }: EvalFlags,
  { name, model = "tiny-bamboo", mode }: Way,
  tasks: readonly Loaded[],
  column: number,
  results: readonly Outcome[],
): EvalColumn {
  let first = column * sum(tasks.map(({ questions }) => questions));
  return {
    name,
    model,
    sparsity: mode,
    tasks: tasks.map(({ task, questions }) => {
      const outcomes = results.slice(first, first += questions);
      return {
        task: task.name,
        shots: numFewshot ?? task.shots,
        metrics: summarise(task, outcomes),
        outcomes,
      };
    }),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
