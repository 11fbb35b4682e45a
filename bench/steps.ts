/**
 * Measures steps of several sequences, one token each: ms a step, and their
 * tokens a second together over those of one alone. The numbers of sequences
 * take turns, and each begins every turn with the same past.
 *
 * Run: `deno task bench:steps --model=FILE [--threads=N] [--sparsity=MODE] [--sequences=1,2,3,4,6,8] [--steps=4] [--rounds=9] [--past=32]`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { median } from "../cli/commands/bench/roofline.ts";
import { load, loadOptions, parseSparsity } from "../mod.ts";
import { exitWith, numberOf, optionsOf } from "./options.ts";

const { model: file, threads, sparsity, counts, steps, rounds, past } =
  optionsOf(() => {
    const { values } = parseArgs({
      args: Deno.args,
      options: {
        model: { type: "string" },
        threads: { type: "string" },
        sparsity: { type: "string" },
        sequences: { type: "string", default: "1,2,3,4,6,8" },
        steps: { type: "string", default: "4" },
        rounds: { type: "string", default: "9" },
        past: { type: "string", default: "32" },
      },
    });
    const { threads, sparsity, sequences } = values;
    return {
      model: values.model,
      threads: threads === undefined
        ? undefined
        : numberOf(threads, "--threads", loadOptions.threads),
      sparsity: sparsity === undefined ? undefined : parseSparsity(sparsity),
      counts: sequences.split(",").map((n) => numberOf(n, "--sequences")),
      steps: numberOf(values.steps, "--steps"),
      rounds: numberOf(values.rounds, "--rounds"),
      past: numberOf(values.past, "--past"),
    };
  });
/** Candidates that a sampler looks at. */
const top = 40;

await using model = await load(
  file ?? new URL(
    "../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf",
    import.meta.url,
  ),
  {
    contextSize: past + steps,
    gpu: "off",
    threads,
    sparsity,
  },
).catch(exitWith);
const { engine } = model;

// Pasts and tokens that differ, so that sequences need different neurons.
const random = () => Math.floor(Math.random() * 1000);
const sequences = await Promise.all(
  Array.from(
    { length: Math.max(...counts) },
    () => engine.startSequence(Array.from({ length: past }, random)),
  ),
);

/** ms of a step of the first `count` sequences. */
async function stepMs(count: number): Promise<number> {
  const active = sequences.slice(0, count);
  const times: number[] = [];
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    await Promise.all(
      active.map((sequence) =>
        engine.evaluateTop(sequence, [random()], top, undefined, false)
      ),
    );
    times.push(performance.now() - start);
  }
  for (const sequence of active) sequence.truncate(past);
  return median(times);
}

const seen = counts.map((): number[] => []);
// Code is compiled and pages are made in the first.
for (let round = -1; round < rounds; round++) {
  for (const [i, count] of counts.entries()) {
    const ms = await stepMs(count);
    if (round >= 0) seen[i].push(ms);
  }
}

/** The median, and the least and the most. */
function spread(values: readonly number[], digits: number): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const [a, b, c] = [median(values), least, most].map((x) => x.toFixed(digits));
  return `${a} (${b}–${c})`;
}

console.log(`${model.backend}\n
| sequences | ms a step | tokens/s | over one alone |
| --- | --- | --- | --- |`);
const one = counts.indexOf(1);
for (const [i, count] of counts.entries()) {
  const rates = seen[i].map((ms) => 1000 * count / ms);
  const ratios = one < 0
    ? "-"
    : spread(rates.map((rate, r) => rate * seen[one][r] / 1000), 2);
  console.log(
    `| ${count} | ${spread(seen[i], 2)} | ${spread(rates, 1)} | ${ratios} |`,
  );
}
