/**
 * Results of an evaluation in the forms in which they are printed.
 *
 * @module
 */
import type { MetricSummary, Outcome } from "../../../lab.ts";
import { formatMarkdown } from "../../format.ts";

/** One way to run one model, and what came of each task. */
export interface EvalColumn {
  /** For people, and unlike those of the other columns */
  readonly name: string;
  readonly model: string;
  /** As `--sparsity` names it */
  readonly sparsity: string;
  readonly tasks: readonly EvalTaskResult[];
}

/** What came of a task. */
export interface EvalTaskResult {
  readonly task: string;
  /** Examples before each question */
  readonly shots: number;
  readonly metrics: readonly MetricSummary[];
  readonly outcomes: readonly QuestionOutcome[];
}

/** What came of a question. */
export interface QuestionOutcome extends Outcome {
  /** The task, or the subject of one */
  readonly task: string;
  /** Its number there */
  readonly question: number;
}

/** A table with a row for each metric, and a column for each model and mode; in Markdown. */
export function toTable(columns: readonly EvalColumn[]): string {
  const [first] = columns;
  const rows = first.tasks.flatMap(({ metrics }, t) =>
    metrics.map(({ name, metric, count }, m) => [
      name,
      metric,
      String(count),
      ...columns.map(({ tasks }) => valueOf(tasks[t].metrics[m])),
    ])
  );
  const headings = ["task", "metric", "questions"];
  return formatMarkdown([
    [...headings, ...columns.map(({ name }) => name)],
    ...rows,
  ], 2);
}

/** A value with its standard error, `0.5100 ± 0.0354`. */
export function valueOf({ value, stderr }: MetricSummary): string {
  return `${value.toFixed(4)} ± ${
    Number.isNaN(stderr) ? "?" : stderr.toFixed(4)
  }`;
}

/** Everything but the single questions, as JSON. */
export function toJson(columns: readonly EvalColumn[]): string {
  const all = columns.map(({ tasks, ...column }) => ({
    ...column,
    tasks: tasks.map(({ outcomes: _, ...result }) => result),
  }));
  return JSON.stringify(all, undefined, 2) + "\n";
}

/** A line of JSON for each question. */
export function toSamples(columns: readonly EvalColumn[]): string {
  return columns.flatMap(({ model, sparsity, tasks }) =>
    tasks.flatMap(({ outcomes }) =>
      outcomes.map((outcome) =>
        JSON.stringify({ model, sparsity, ...outcome }) + "\n"
      )
    )
  ).join("");
}
