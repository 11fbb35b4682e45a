/**
 * Which of several endings a model expects: the log-likelihood of each behind the
 * same beginning, which is computed once.
 *
 *     deno run examples/deno-script/score.ts
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";

await using model = await load(tinyBamboo());
const { engine } = model;

const beginning = "The sun was hot, so Tom took off his";
const endings = [" coat.", " hat.", " house.", " moon."];

/** ln(softmax(logits)) at an id. */
function logSoftmaxAt(logits: Float32Array, id: number): number {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return logits[id] - largest - Math.log(sum);
}

const known = model.tokenize(beginning);
using sequence = engine.createSequence();
const [next] = await engine.evaluate(sequence, known);

// Together, so that they share steps.
const scores = await Promise.all(endings.map(async (ending) => {
  const ids = model.tokenize(beginning + ending).slice(known.length);
  using fork = sequence.fork();
  const rows = [next, ...await engine.evaluate(fork, ids, "all")];
  return ids.reduce((sum, id, i) => sum + logSoftmaxAt(rows[i], id), 0);
}));
endings.forEach((ending, i) =>
  console.log(scores[i].toFixed(2).padStart(7), beginning + ending)
);
