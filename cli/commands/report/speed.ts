/**
 * How fast a model runs here, by sparsity, beside what is predicted.
 *
 * @module
 */
import type { Sparsity } from "../../../mod.ts";
import { isSparse, type Model } from "../../../gguf.ts";
import { type BenchRow, rowOf } from "../bench/output.ts";
import { type BenchTest, nameOf, runTest } from "../bench/runs.ts";
import type { RunGpuFlags } from "../../gpu_options.ts";
import type { Interrupt } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import { findPredictor } from "../../model_predictor.ts";
import type { LoadFlags } from "../../options.ts";
import {
  type PlanRequest,
  predictBest,
  tokensPerSecond,
} from "../plan/planning.ts";
import { note } from "../../terminal.ts";

/** Tokens that are measured, at once and one by one. */
export const speedTests = { prompt: 128, generation: 64, repetitions: 3 };

/** A mode that needs no number. */
export type SpeedMode = Exclude<Sparsity["mode"], "top-k" | "threshold">;

/** One way to run the model. */
export interface SpeedRow {
  readonly mode: SpeedMode;
  readonly prompt: BenchRow;
  readonly generation: BenchRow;
  /** Tokens a second that are predicted of decoding */
  readonly predicted: number;
}

/** The modes that a model has, the predictor of its own file or one beside it included. */
export async function modesOf(
  flags: LoadFlags,
  model: Model,
): Promise<SpeedMode[]> {
  if (!isSparse(model.activation)) return ["dense"];
  const asked = { ...flags, sparsity: { mode: "predictor" } as const };
  const hasPredictor = model.layers.some(({ fc1 }) => fc1) ||
    await findPredictor(asked) !== undefined;
  return hasPredictor ? ["dense", "exact", "predictor"] : ["dense", "exact"];
}

/** Loads and measures each mode. */
export async function measureSpeed(
  flags: LoadFlags & RunGpuFlags,
  modes: readonly SpeedMode[],
  request: PlanRequest,
  interrupt: Interrupt,
): Promise<SpeedRow[]> {
  const rows: SpeedRow[] = [];
  for (const mode of modes) {
    rows.push(await measureMode(flags, mode, request, interrupt));
  }
  return rows;
}

async function measureMode(
  flags: LoadFlags & RunGpuFlags,
  mode: SpeedMode,
  request: PlanRequest,
  interrupt: Interrupt,
): Promise<SpeedRow> {
  const { prompt, generation, repetitions } = speedTests;
  const contextSize = Math.max(prompt, generation);
  const loadFlags = { ...flags, contextSize, sparsity: { mode } };
  await using model = await loadModel(loadFlags, interrupt);
  const run = async (kind: BenchTest["kind"], tokens: number) => {
    const test: BenchTest = { kind, tokens, depth: 0 };
    note(`measuring ${nameOf(test)}, ${mode}`);
    const { signal } = interrupt;
    const result = await runTest(model, test, repetitions, signal, () => {});
    return rowOf(result, model, loadFlags);
  };
  return {
    mode,
    prompt: await run("pp", prompt),
    generation: await run("tg", generation),
    predicted: tokensPerSecond(predictBest({
      ...request,
      // A predictor that lies beside the file is part of what was loaded.
      model: model.model,
      sparsity: { mode },
      contextSize,
      batchSize: Math.min(request.batchSize, contextSize),
      // As many as a measured token reads on average.
      positions: generation / 2,
    })),
  };
}

/** Speeds of the runs of a test, in tokens a second, from the slowest. */
function speedsOf({ samples_ts }: BenchRow): number[] {
  return (samples_ts as readonly number[]).toSorted((a, b) => a - b);
}

/** The speed of half of the runs of a test. */
export function medianOf(row: BenchRow): number {
  const speeds = speedsOf(row);
  return speeds[speeds.length >> 1];
}

/** The rows as a table; headings first. */
export function rowsOfSpeed(rows: readonly SpeedRow[]): string[][] {
  const speed = (row: BenchRow) => {
    const speeds = speedsOf(row).map((speed) => speed.toFixed(1));
    return `${medianOf(row).toFixed(1)} (${speeds[0]} to ${speeds.at(-1)})`;
  };
  const limit = (
    { limit_ts, of_limit }: BenchRow,
    value: (of: number) => string,
  ) => limit_ts === undefined ? "-" : value(Number(of_limit));
  return [
    [
      "sparsity",
      `prompt of ${speedTests.prompt}, tokens/s`,
      "decoding, tokens/s",
      "predicted",
      "limit of memory",
      "reached of it",
      "rows skipped",
    ],
    ...rows.map(({ mode, prompt, generation, predicted }) => [
      mode,
      speed(prompt),
      speed(generation),
      predicted.toFixed(1),
      limit(generation, () => Number(generation.limit_ts).toFixed(1)),
      limit(generation, (of) => `${(100 * of).toFixed(0)}%`),
      `${(100 * Number(generation.rows_skipped)).toFixed(1)}%`,
    ]),
  ];
}
