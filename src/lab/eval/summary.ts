import type { Outcome } from "./evaluate.ts";
import type { EvalTask } from "./task.ts";

/** One metric of a task. */
export interface MetricSummary {
  /** As the task names it */
  readonly metric: string;
  /** Mean of the scores; of `perplexity`, exp of minus the mean log-likelihood */
  readonly value: number;
  /** Standard error of `value`; NaN of a single question */
  readonly stderr: number;
  /** Questions */
  readonly count: number;
}

/** The metrics of a task's outcomes, in the task's order. */
export function summarise(
  task: EvalTask,
  outcomes: readonly Outcome[],
): MetricSummary[] {
  return task.metrics.map((metric) => {
    const count = outcomes.length, isPerplexity = metric === "perplexity";
    const { mean, error } = meanOf(
      outcomes.map(({ scores, logprobs }) =>
        isPerplexity ? logprobs![0] : scores[metric]
      ),
    );
    if (!isPerplexity) return { metric, value: mean, stderr: error, count };
    const value = Math.exp(-mean);
    // Of the mean, times the slope of exp there.
    return { metric, value, stderr: error * value, count };
  });
}

/** A mean, and its standard error by the sample's deviation. */
function meanOf(values: readonly number[]): { mean: number; error: number } {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / (count - 1) / count) };
}
