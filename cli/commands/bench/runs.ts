/**
 * llama-bench's two tests: evaluating a prompt at once (pp), and one token
 * after another (tg), at the start of a text or deep in it. Tokenising and
 * sampling are left out.
 *
 * @module
 */
import type { LanguageModel, Sequence } from "../../../mod.ts";
import type { GpuCounts, Rates } from "../../../plan.ts";
import { type PlaceStats, statsSince } from "../../../lab.ts";
import { gpuCountsSince } from "../../gpu_stats.ts";

/** One test: which of the two, how many tokens, and after how many others. */
export interface BenchTest {
  readonly kind: "pp" | "tg";
  readonly tokens: number;
  readonly depth: number;
}

/** A test's name, as llama-bench writes it: `pp512`, `tg128 @ d4096`. */
export function nameOf({ kind, tokens, depth }: BenchTest): string {
  return `${kind}${tokens}` + (depth > 0 ? ` @ d${depth}` : "");
}

/** What a test measured. */
export interface BenchResult {
  readonly test: BenchTest;
  /** When it began. */
  readonly time: Date;
  /** Time of each repetition, in ms. */
  readonly samplesMs: readonly number[];
  /** Rows computed and bytes read by all repetitions. */
  readonly stats: PlaceStats;
  /** What a GPU did in all repetitions, where one took part. */
  readonly gpu?: GpuCounts;
  /** How fast each place read its rows, measured before each repetition and after the last. */
  readonly rates: readonly (readonly Rates[])[];
}

/**
 * A text of no special kind, over and over. Which neurons fire depends on the
 * text, so random tokens, as llama-bench takes, would show a sparsity that no
 * use has.
 */
const text =
  `The path to the river ran between two hedges, and in the mornings the whole village
used it. Anna was the first. She carried a basket of washing on her hip and counted the steps under
her breath, because her grandmother had told her that there were four hundred and she had never once
arrived at the same number. That day she stopped at two hundred and twelve. Somebody had left a small
boat on the grass, with its oars laid across it and no rope in sight. "It must have come down in the
night," she said to the dog, who was looking at the water. They waited for a while. Nobody came. Then
the sun rose over the mill, the first carts began to move on the other bank, and she pushed the boat
a little further up, where the next rain could not reach it.\n`;

/** Ids for `count` tokens of natural text, beginning as texts begin. */
export function benchTokens(model: LanguageModel, count: number): number[] {
  const first = model.tokenize(text);
  const more = model.tokenize(text, { addSpecial: false });
  const ids = [...first];
  while (ids.length < count) for (const id of more) ids.push(id);
  return ids.slice(0, count);
}

/** A sequence of the first `depth` tokens of {@linkcode benchTokens}, evaluated once however many go on from them. */
export function startAt(
  model: LanguageModel,
  depth: number,
  signal: AbortSignal,
): Promise<Sequence> {
  return model.engine.startSequence(benchTokens(model, depth), { signal });
}

/** Runs one test `repetitions` times, after a run that does not count. */
export async function runTest(
  model: LanguageModel,
  test: BenchTest,
  repetitions: number,
  signal: AbortSignal,
  onRun: (ms: number) => void,
): Promise<BenchResult> {
  const { kind, tokens, depth } = test;
  const ids = benchTokens(model, depth + tokens).slice(depth);
  const run = async (ids: readonly number[]) => {
    using sequence = await startAt(model, depth, signal);
    return await runOnce(model, sequence, kind, ids, signal);
  };
  await run(kind === "pp" ? ids : ids.slice(0, 1));
  const time = new Date();
  const before = model.engine.stats();
  const gpuBefore = model.engine.gpu?.counts;
  const samplesMs: number[] = [];
  const rates = [await model.engine.measureRates()];
  for (let i = 0; i < repetitions; i++) {
    const ms = await run(ids);
    samplesMs.push(ms);
    rates.push(await model.engine.measureRates());
    onRun(ms);
  }
  const gpuNow = model.engine.gpu?.counts;
  return {
    test,
    time,
    samplesMs,
    gpu: gpuNow && gpuBefore && gpuCountsSince(gpuNow, gpuBefore),
    stats: statsSince(model.engine.stats(), before),
    rates,
  };
}

/** The time in ms. */
async function runOnce(
  { engine }: LanguageModel,
  sequence: Sequence,
  kind: BenchTest["kind"],
  ids: readonly number[],
  signal: AbortSignal,
): Promise<number> {
  const start = performance.now();
  if (kind === "pp") {
    await engine.evaluate(sequence, ids, "last", signal);
  } else {
    for (const id of ids) await engine.evaluate(sequence, [id], "last", signal);
  }
  return performance.now() - start;
}
