/**
 * Measuring predictors on a text: what they select and miss, and what that
 * costs in perplexity.
 *
 * @module
 */
// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import type { LanguageModel } from "../../../mod.ts";
import {
  estimatePerplexity,
  scoreChunks,
  textChunks,
  type TextScore,
} from "../../../lab.ts";
import type { Model } from "../../../gguf.ts";
import {
  formatBytes,
  formatChange,
  formatMarkdown,
  formatShare,
} from "../../format.ts";
import type { Interrupt } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import type { LoadFlags } from "../../options.ts";
import { type Recall, recallOf } from "../../recall.ts";
import { ProgressBar } from "../../terminal.ts";

/** A predictor to measure. */
export interface Candidate {
  /** The model that runs: a file that has a predictor of its own is one */
  readonly model?: string;
  /** Its file; `false`: the model file's own */
  readonly predictor: string | false;
}

/** What a predictor is, and what it did. */
export interface PredictorRow extends Partial<Recall> {
  /** Its file, or the model's; `exact` for the model without one */
  readonly name: string;
  readonly method?: "trained" | "training-free";
  /** Least, mean and most of the layers' */
  readonly rank?: readonly [least: number, mean: number, most: number];
  /** Of its weights in the file */
  readonly bytes?: number;
  readonly perplexity: number;
  /** Standard error of the perplexity */
  readonly error: number;
}

/** What was measured of a text. */
export interface PredictorReport {
  readonly contextSize: number;
  readonly chunks: number;
  /** The exact model first */
  readonly rows: readonly PredictorRow[];
}

/**
 * Measures the model without a predictor, and with each of `candidates`, one
 * after another.
 *
 * @param most Most chunks of `-c` tokens.
 * @throws {UsageError} where the text is shorter than two chunks of `-c`
 */
export async function measurePredictors(
  flags: Omit<LoadFlags, "sparsity">,
  candidates: readonly Candidate[],
  text: string,
  most: number,
  interrupt: Interrupt,
): Promise<PredictorReport> {
  const rows: PredictorRow[] = [];
  let chunks: Int32Array[] | undefined;
  for (const candidate of [undefined, ...candidates]) {
    await using model = await loadModel(
      {
        ...flags,
        model: candidate?.model ?? flags.model,
        predictor: candidate?.predictor ?? false,
        sparsity: { mode: candidate ? "predictor" : "exact" },
        profile: false,
      },
      interrupt,
      { measureRecall: candidate !== undefined },
    );
    chunks ??= textChunks(model.tokenizer, text, flags.contextSize).slice(
      0,
      most,
    );
    const score = await scored(model, chunks, interrupt.signal);
    rows.push(
      candidate
        ? {
          name: candidate.predictor || candidate.model || flags.model ||
            "the model",
          ...describePredictor(model.model),
          ...recallOf(model.engine.stats()),
          ...score,
        }
        : { name: "exact", ...score },
    );
  }
  return { contextSize: flags.contextSize, chunks: chunks!.length, rows };
}

async function scored(
  { engine }: LanguageModel,
  chunks: readonly Int32Array[],
  signal: AbortSignal,
): Promise<Pick<PredictorRow, "perplexity" | "error">> {
  const scores: TextScore[] = [];
  using bar = new ProgressBar("scoring", "chunks");
  for await (const [score] of scoreChunks(engine, chunks, { signal })) {
    scores.push(score);
    bar.update(scores.length, chunks.length);
  }
  return estimatePerplexity(scores);
}

function describePredictor(
  { layers, linearPredictor }: Model,
): Pick<PredictorRow, "method" | "rank" | "bytes"> {
  const ranks = layers.map(({ fc1 }) => fc1?.shape[1] ?? 0);
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  return {
    method: linearPredictor ? "training-free" : "trained",
    rank: [Math.min(...ranks), sum(ranks) / ranks.length, Math.max(...ranks)],
    bytes: sum(
      layers.map(({ fc1, fc2 }) =>
        (fc1?.byteLength ?? 0) + (fc2?.byteLength ?? 0)
      ),
    ),
  };
}

/** The rows as a table in Markdown. */
export function toTable({ rows }: PredictorReport): string {
  const [exact] = rows;
  const share = (value?: number) =>
    value === undefined ? "-" : formatShare(value, 1);
  const cells = rows.map((row) => [
    basename(row.name),
    row.method ?? "-",
    row.rank ? rankText(row.rank) : "-",
    row.bytes === undefined ? "-" : formatBytes(row.bytes),
    share(row.predicted),
    share(row.recall),
    share(row.missedMass),
    row.perplexity.toFixed(4),
    row === exact ? "-" : formatChange(row.perplexity / exact.perplexity - 1),
  ]);
  const headings = [
    "predictor",
    "method",
    "rank",
    "bytes",
    "selected",
    "recall",
    "missed mass",
    "PPL",
    "change",
  ];
  return formatMarkdown([headings, ...cells], 2);
}

/** All of a report as JSON. */
export function toJson(report: PredictorReport): string {
  return JSON.stringify(report, undefined, 2) + "\n";
}

function rankText([least, mean, most]: readonly number[]): string {
  return least === most
    ? String(most)
    : `${Number(mean.toFixed(1))} (${least}-${most})`;
}
