/**
 * The evaluation of Bamboo-7B's page: its benchmarks, its order, its figures.
 *
 * @module
 */
import { type EvalTask, evalTasks } from "../../../lab.ts";
import { formatMarkdown } from "../../format.ts";
import type { EvalColumn, EvalTaskResult } from "./output.ts";

interface Benchmark {
  /** As the page names it */
  readonly name: string;
  readonly task: string;
  /** What the page's figure is of */
  readonly metric: string;
  /** Examples, as Hugging Face's leaderboard of then shows them */
  readonly shots: number;
  /** Published, in percent: of Bamboo-7B and of Mistral-7B v0.1 */
  readonly published: readonly [bamboo: number, mistral: number];
}

const benchmarks: readonly Benchmark[] = [
  {
    name: "MMLU",
    task: "mmlu",
    metric: "acc",
    shots: 5,
    published: [63.89, 62.65],
  },
  {
    name: "Winogrande",
    task: "winogrande",
    metric: "acc",
    shots: 5,
    published: [76.16, 79.24],
  },
  {
    name: "TruthfulQA",
    task: "truthfulqa_mc2",
    metric: "acc",
    shots: 0,
    published: [44.06, 42.62],
  },
  {
    name: "Hellaswag",
    task: "hellaswag",
    metric: "acc_norm",
    shots: 10,
    published: [82.17, 83.32],
  },
  {
    name: "GSM8K",
    task: "gsm8k",
    metric: "exact_match,strict",
    shots: 5,
    published: [52.84, 40.18],
  },
  {
    name: "Arc-C",
    task: "arc_challenge",
    metric: "acc_norm",
    shots: 25,
    published: [62.2, 61.43],
  },
  {
    name: "HumanEval",
    task: "humaneval",
    metric: "pass@1",
    shots: 0,
    published: [25.6, 26.21],
  },
  {
    name: "BBH",
    task: "bbh",
    metric: "exact_match",
    shots: 3,
    published: [50.35, 56.35],
  },
];

/** The page's tasks, with as many examples as there. */
export const bambooTasks: readonly EvalTask[] = benchmarks.map(
  ({ task: wanted, shots }) => {
    const task = evalTasks.find(({ name }) => name === wanted)!;
    return { ...task, shots };
  },
);

/** The page's table, with a column for each model and mode behind the published ones; in Markdown. */
export function toBambooTable(columns: readonly EvalColumn[]): string {
  const rows = benchmarks.map(({ name, published }, i) => [
    name,
    String(columns[0].tasks[i].outcomes.length),
    ...published.map(inPercent),
    ...columns.map(({ tasks }) => inPercent(valueOf(tasks[i], i))),
  ]);
  const means = [0, 1].map((i) =>
    meanOf(benchmarks.map(({ published }) => published[i]))
  );
  return formatMarkdown([
    [
      "benchmark",
      "questions",
      "Bamboo-7B, published",
      "Mistral-7B, published",
      ...columns.map(({ name }) => name),
    ],
    ...rows,
    [
      "Average",
      "",
      ...means.map(inPercent),
      ...columns.map(({ tasks }) => inPercent(meanOf(tasks.map(valueOf)))),
    ],
  ], 1);
}

/** The figure of a benchmark, in percent. */
function valueOf({ metrics }: EvalTaskResult, benchmark: number): number {
  const { task, metric } = benchmarks[benchmark];
  const found = metrics.find((each) =>
    each.name === task && each.metric === metric
  );
  return 100 * found!.value;
}

function inPercent(value: number): string {
  return value.toFixed(2);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
