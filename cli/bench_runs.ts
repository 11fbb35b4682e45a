/**
 * llama-bench's two tests: evaluating a prompt at once (pp), and one token
 * after another (tg). Tokenising and sampling are left out.
 *
 * @module
 */
import { type LanguageModel, type PlaceStats, statsSince } from "../mod.ts";

/** One test: which of the two, and how many tokens. */
export interface BenchTest {
  readonly kind: "pp" | "tg";
  readonly tokens: number;
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
  while (ids.length < count) ids.push(...more);
  return ids.slice(0, count);
}

/** Runs one test `repetitions` times, after a run that does not count. */
export async function runTest(
  model: LanguageModel,
  test: BenchTest,
  repetitions: number,
  signal: AbortSignal,
  onRun: (ms: number) => void,
): Promise<BenchResult> {
  const ids = benchTokens(model, test.tokens);
  const warmUp = test.kind === "pp" ? ids : ids.slice(0, 1);
  await runOnce(model, test.kind, warmUp, signal);
  const time = new Date();
  const before = model.engine.stats();
  const samplesMs: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const ms = await runOnce(model, test.kind, ids, signal);
    samplesMs.push(ms);
    onRun(ms);
  }
  return {
    test,
    time,
    samplesMs,
    stats: statsSince(model.engine.stats(), before),
  };
}

async function runOnce(
  { engine }: LanguageModel,
  kind: BenchTest["kind"],
  ids: readonly number[],
  signal: AbortSignal,
): Promise<number> {
  using sequence = engine.createSequence();
  const start = performance.now();
  if (kind === "pp") {
    await engine.evaluate(sequence, ids, "last", signal);
  } else {
    for (const id of ids) await engine.evaluate(sequence, [id], "last", signal);
  }
  return performance.now() - start;
}
