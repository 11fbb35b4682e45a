import type { Asked } from "./asked.ts";
import type { Outcome } from "./evaluate.ts";
import type { EvalTask } from "./task.ts";

/** One metric of a task, of a group of its subjects, or of one of these. */
export interface MetricSummary {
  /** Whose: `mmlu`, `mmlu_stem`, `mmlu_anatomy` */
  readonly name: string;
  /** As the task names it */
  readonly metric: string;
  /** Mean of the scores; of `perplexity`, exp of minus the mean log-likelihood */
  readonly value: number;
  /** Standard error of `value`; NaN where a single question does not tell it */
  readonly stderr: number;
  /** Questions */
  readonly count: number;
}

/**
 * The metrics of a task's outcomes, in the task's order. Of a task with subjects
 * those of the whole, then those of each group and of its subjects; all
 * questions of a task, or a group, weigh the same.
 */
export function summarise(
  task: EvalTask,
  asked: readonly Asked[],
  outcomes: readonly Outcome[],
): MetricSummary[] {
  let first = 0;
  const parts = asked.map(({ subject, questions }) => ({
    name: subject.name,
    group: subject.group,
    outcomes: outcomes.slice(first, first += questions.length),
  }));
  const of = (name: string, some: readonly (readonly Outcome[])[]) =>
    task.metrics.map((metric) => summaryOf(name, metric, some));
  const whole = of(task.name, parts.map(({ outcomes }) => outcomes));
  if (asked.length === 1 && asked[0].subject.name === task.name) return whole;
  const groups = Map.groupBy(parts, ({ group }) => group);
  return [
    ...whole,
    ...Array.from(groups).flatMap(([group, members]) => [
      ...(group === undefined
        ? []
        : of(group, members.map(({ outcomes }) => outcomes))),
      ...members.flatMap(({ name, outcomes }) => of(name, [outcomes])),
    ]),
  ];
}

function summaryOf(
  name: string,
  metric: string,
  parts: readonly (readonly Outcome[])[],
): MetricSummary {
  const isPerplexity = metric === "perplexity";
  const values = parts.map((outcomes) =>
    outcomes.map(({ scores, logprobs }) =>
      isPerplexity ? logprobs![0] : scores[metric]
    )
  );
  const count = values.flat().length;
  const mean = meanOf(values.flat());
  const error = errorOf(values);
  if (!isPerplexity) return { name, metric, value: mean, stderr: error, count };
  const value = Math.exp(-mean);
  // Of the mean, times the slope of exp there.
  return { name, metric, value, stderr: error * value, count };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The standard error of the mean of all, by the deviations of each part from its own mean. */
function errorOf(parts: readonly (readonly number[])[]): number {
  const squares = parts.flatMap((values) => {
    const mean = meanOf(values);
    return values.map((value) => (value - mean) ** 2);
  });
  const sum = squares.reduce((total, square) => total + square, 0);
  const { length } = squares;
  return Math.sqrt(sum / (length - parts.length) / length);
}
