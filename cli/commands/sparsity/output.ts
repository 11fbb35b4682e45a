/**
 * What was measured of a sparse model, in the forms in which it is printed.
 *
 * @module
 */
import {
  type DivergenceEstimate,
  expertUnionShares,
  expertUse,
  liveShares,
  type NeuronActivity,
  unionShares,
  unionSizes,
} from "../../../lab.ts";
import { formatBytes, formatChange, formatMarkdown } from "../../format.ts";
import type { PerplexityReport, PerplexityRow } from "../perplexity/output.ts";

/** One way to run the model: how it predicts the text, and what that reads. */
export interface QualityRow extends PerplexityRow, DivergenceEstimate {
  /** Bytes of weights, keys and values that a token reads which is written by itself */
  readonly bytes: number;
  /** Share of neurons whose row of down is read, of experts of those of the chosen ones: all, where down has columns in their place */
  readonly downRows: number;
  /** Share of neurons that a predictor selects */
  readonly selected?: number;
  /** Share of the live neurons that it selects */
  readonly recall?: number;
  /** Share of the selected neurons that are live */
  readonly precision?: number;
}

/** What a predictor does in one layer. */
export type PredictorLayer = Required<
  Pick<QualityRow, "selected" | "recall" | "precision">
>;

/** What a run has measured. */
export interface SparsityReport {
  /** What the model's file is called */
  readonly name: string;
  /** What the text is called */
  readonly text: string;
  /** What the model is, for people */
  readonly model: string;
  readonly contextSize: number;
  readonly chunks: number;
  /** Tokens whose bytes were counted */
  readonly decodeTokens: number;
  /** Dense first, then exact */
  readonly rows: readonly QualityRow[];
  /** Which neurons were live; only where some are not */
  readonly activity?: NeuronActivity;
  /** By layer, at the predictor's own thresholds; where there is a predictor */
  readonly predictor?: readonly PredictorLayer[];
}

/** An expert that a smaller share of tokens choose is seldom used: SmallThinker's report has 70 to 80% of them below. */
const seldomUse = 0.14;
/** The same for people. */
export const seldomText = `under ${Math.round(100 * seldomUse)}%`;

/** Share of experts that fewer than 14% of the tokens choose. */
export function seldomShare(use: readonly number[]): number {
  return use.filter((share) => share < seldomUse).length / use.length;
}

/** The mean of a column. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percent(share?: number): string {
  return share === undefined || !Number.isFinite(share)
    ? "-"
    : `${(100 * share).toFixed(1)}%`;
}

/** A divergence and its standard error. */
function nats({ divergence, divergenceError }: QualityRow): string {
  if (divergence === 0) return "0";
  return divergence < 1e-3
    ? `${divergence.toExponential(2)} ± ${divergenceError.toExponential(1)}`
    : `${divergence.toPrecision(3)} ± ${divergenceError.toPrecision(2)}`;
}

/** Quality against bytes; headings first. */
export function qualityRows({ rows }: SparsityReport): string[][] {
  const hasPredictor = rows.some(({ recall }) => recall !== undefined);
  return [
    [
      "sparsity",
      "down rows read",
      "bytes/token",
      "PPL",
      "change",
      "KL divergence",
      "same top",
      ...hasPredictor ? ["recall", "precision"] : [],
    ],
    ...rows.map((row, i) => [
      row.sparsity,
      percent(row.downRows),
      formatBytes(row.bytes),
      row.perplexity.toFixed(4),
      formatChange(row.change, i < 2 ? undefined : row.changeError),
      nats(row),
      percent(row.sameTop),
      ...hasPredictor ? [percent(row.recall), percent(row.precision)] : [],
    ]),
  ];
}

/** Rows of layers, and their mean; a column for each heading. */
function layerTable(
  headings: readonly string[],
  layers: readonly (readonly number[])[],
): string[][] {
  // A layer where nothing could be recalled has no share.
  const means = headings.map((_, i) =>
    mean(layers.map((layer) => layer[i]).filter(Number.isFinite))
  );
  return [
    ["layer", ...headings],
    ...layers.map((layer, i) => [String(i), ...layer.map(percent)]),
    ["mean", ...means.map(percent)],
  ];
}

/** Neurons live in the union of consecutive tokens, by layer; headings first. */
export function unionRows(activity: NeuronActivity): string[][] {
  return layerTable(unionSizes.map(String), unionShares(activity));
}

/** The same of experts. */
export function expertUnionRows(activity: NeuronActivity): string[][] {
  return layerTable(unionSizes.map(String), expertUnionShares(activity));
}

/** How live shares are spread over tokens, by layer; headings first. */
export function liveRows(activity: NeuronActivity): string[][] {
  return layerTable(
    ["mean", "5%", "25%", "median", "75%", "95%"],
    liveShares(activity).map(({ mean, p5, p25, median, p75, p95 }) => [
      mean,
      p5,
      p25,
      median,
      p75,
      p95,
    ]),
  );
}

/** What a predictor does, by layer; headings first. */
export function predictorRows(layers: readonly PredictorLayer[]): string[][] {
  return layerTable(
    ["selected", "recall", "precision"],
    layers.map(({ selected, recall, precision }) => [
      selected,
      recall,
      precision,
    ]),
  );
}

/** How evenly experts are used, by layer; headings first. */
export function expertRows(activity: NeuronActivity): string[][] {
  return layerTable(
    [`chosen by ${seldomText} of tokens`, "least used", "most used"],
    expertUse(activity).map((use) => [
      seldomShare(use),
      Math.min(...use),
      Math.max(...use),
    ]),
  );
}

/** A part of a report. */
export interface Part {
  readonly title: string;
  /** Headings first */
  readonly rows: string[][];
  /** The name of the figure that belongs to it */
  readonly figure?: string;
}

/** The parts that a report has, quality first. */
export function partsOf(report: SparsityReport): Part[] {
  const { activity, predictor } = report;
  const parts: Part[] = [{
    title: "Quality against bytes read",
    rows: qualityRows(report),
    figure: "quality",
  }];
  if (activity) {
    parts.push({
      title: "Live neurons of a token",
      rows: liveRows(activity),
      figure: "live",
    }, {
      title: "Neurons live in the union of consecutive tokens",
      rows: unionRows(activity),
      figure: "union",
    });
  }
  if (predictor) {
    parts.push({
      title: "Predictor by layer",
      rows: predictorRows(predictor),
      figure: "predictor",
    });
  }
  if (activity && expertUse(activity).length > 0) {
    parts.push({
      title: "Use of experts",
      rows: expertRows(activity),
      figure: "experts",
    }, {
      title: "Experts chosen in the union of consecutive tokens",
      rows: expertUnionRows(activity),
    });
  }
  return parts;
}

/** All tables in Markdown. */
export function toTables(report: SparsityReport): string {
  return partsOf(report).map(({ title, rows }) =>
    `${title}:\n\n${formatMarkdown(rows, 1)}`
  ).join("\n");
}

/** The rows by the share of neurons that is kept, dense first. */
export function perplexityOf(report: SparsityReport): PerplexityReport {
  const rows = report.rows.filter(({ keep }) => keep !== undefined);
  return { ...report, rows };
}

/** The rows of quality as CSV, with a header. */
export function toCsv({ rows }: SparsityReport): string {
  const names = [
    "sparsity",
    "downRows",
    "bytes",
    "tokens",
    "nll",
    "perplexity",
    "error",
    "change",
    "changeError",
    "divergence",
    "divergenceError",
    "sameTop",
    "selected",
    "recall",
    "precision",
  ] as const;
  const lines = rows.map((row) => names.map((name) => row[name] ?? ""));
  return [names, ...lines].map((cells) => cells.join(",") + "\n").join("");
}

/** All of a report as JSON. */
export function toJson({ activity, ...report }: SparsityReport): string {
  const counted = activity && {
    tokens: activity.tokens,
    neurons: activity.neurons,
    unionSizes,
    unionShares: unionShares(activity),
    liveShares: liveShares(activity),
    expertUse: expertUse(activity),
    expertUnionShares: expertUnionShares(activity),
  };
  return JSON.stringify({ ...report, activity: counted }, undefined, 2) + "\n";
}
