/**
 * Perplexities in the forms in which they are printed.
 *
 * @module
 */
import {
  comparePerplexity,
  estimatePerplexity,
  mostKept,
  type PerplexityChange,
  type TextScore,
} from "../../../lab.ts";
import { formatChange, formatMarkdown } from "../../format.ts";
import { drawing, framed } from "../../svg.ts";

/** What a run has measured. */
export interface PerplexityReport {
  /** What the model's file is called */
  readonly name: string;
  /** What the text is called */
  readonly text: string;
  /** What the model is, for people */
  readonly model: string;
  readonly contextSize: number;
  readonly chunks: number;
  readonly rows: readonly PerplexityRow[];
}

/** One way to run the model, and how it predicts the text. */
export interface PerplexityRow extends PerplexityChange {
  /** As `--sparsity` names it */
  readonly sparsity: string;
  /** Share of each layer's neurons that was kept; undefined where the mode keeps no fixed one */
  readonly keep?: number;
  /** Tokens that were scored */
  readonly tokens: number;
  /** Mean negative log-likelihood of a token, in nats */
  readonly nll: number;
  readonly perplexity: number;
  /** Standard error of the perplexity */
  readonly error: number;
}

/** A row of the scores of all chunks, beside those with the most neurons. */
export function rowOf(
  sparsity: string,
  keep: number | undefined,
  scores: readonly TextScore[],
  base: readonly TextScore[],
): PerplexityRow {
  const estimate = estimatePerplexity(scores);
  const tokens = scores.reduce((sum, score) => sum + score.tokens, 0);
  return {
    sparsity,
    keep,
    tokens,
    nll: Math.log(estimate.perplexity),
    ...estimate,
    ...comparePerplexity(scores, base),
  };
}

/** The last line of llama-perplexity. */
export function finalEstimate({ perplexity, error }: PerplexityRow): string {
  return `Final estimate: PPL = ${perplexity.toFixed(4)} +/- ${
    error.toFixed(5)
  }\n`;
}

/** Perplexity against the share of neurons; headings first. */
export function rowsOf({ rows }: PerplexityReport): string[][] {
  const base = mostKept(rows.map(({ keep }) => keep));
  const cells = rows.map((
    { keep, sparsity, perplexity, error, change, changeError },
    i,
  ) => [
    keep === undefined ? sparsity : percent(keep),
    perplexity.toFixed(4),
    error.toFixed(5),
    formatChange(change, i === base ? undefined : changeError),
  ]);
  return [["neurons kept", "PPL", "+/-", "change"], ...cells];
}

/** {@linkcode rowsOf} as a table in Markdown. */
export function toTable(report: PerplexityReport): string {
  return formatMarkdown(rowsOf(report), 0);
}

/** The rows as CSV, with a header. */
export function toCsv({ rows }: PerplexityReport): string {
  const names = [
    "sparsity",
    "keep",
    "tokens",
    "nll",
    "perplexity",
    "error",
    "change",
    "changeError",
  ] as const;
  const lines = rows.map((row) => names.map((name) => row[name] ?? ""));
  return [names, ...lines].map((cells) => cells.join(",") + "\n").join("");
}

/** All of a report as JSON. */
export function toJson(report: PerplexityReport): string {
  return JSON.stringify(report, undefined, 2) + "\n";
}

const size = { width: 520, height: 340 };
/** Pixels that two labels below the axis need. */
const leastApart = 20;
/** Pixels beside the first and the last point for their labels. */
const labelWidth = 72;

/**
 * Perplexity against the share of neurons kept, with the standard error of what
 * each differs by from that with the most neurons: errors of the values
 * themselves are the text's, and much the same for all rows.
 */
export async function toSvg(report: PerplexityReport): Promise<string> {
  const { plot: { line, dot, text, ruleX, ruleY }, chart } = await drawing();
  const points = pointsOf(report);
  const base = points[points.length - 1];
  const colour = "#4e79a7";
  const place = { x: "kept", y: "perplexity" };
  // Neighbours are labelled by turns above to the right and below to the left,
  // where a line that falls is not, nor the one of all neurons.
  const labels = [0, 1].map((below) =>
    text(points.filter((_, i) => (points.length - 1 - i) % 2 === below), {
      ...place,
      text: "label",
      textAnchor: below ? "end" : "start",
      dx: below ? -8 : 8,
      dy: below ? 20 : -12,
    })
  );
  const svg = chart({
    ...size,
    marginLeft: 76,
    marginTop: 8,
    insetLeft: labelWidth,
    insetRight: labelWidth,
    insetTop: 26,
    insetBottom: 26,
    marginBottom: 46,
    x: {
      type: "log",
      label: "% of neurons kept, by |activation|",
      ticks: points.map(({ kept }) => kept),
      tickFormat: tickText(points),
    },
    y: { label: "perplexity", grid: true, ticks: 5 },
    marks: [
      ruleY([base.perplexity], { strokeDasharray: "4,3" }),
      line(points, { ...place, stroke: colour, strokeWidth: 1.5 }),
      ruleX(points.filter((point) => point !== base), {
        x: "kept",
        y1: "low",
        y2: "high",
        strokeWidth: 1.5,
      }),
      dot(points, { ...place, fill: colour, stroke: "none", r: 4 }),
      ...labels,
    ],
  });
  const { name, text: textName, model, chunks, contextSize } = report;
  return framed(
    [
      `${name}: perplexity of ${textName}`,
      `${model}, ${chunks} chunks of ${contextSize} tokens`,
      `bars: the standard error of the difference from ${base.kept}%`,
    ],
    [{ svg }],
    size,
  );
}

/** A row as it is drawn. */
interface Point {
  readonly kept: number;
  readonly perplexity: number;
  /** The ends of its error bar */
  readonly low: number;
  readonly high: number;
  readonly label: string;
}

/** The rows from the fewest neurons to the most. */
function pointsOf({ rows }: PerplexityReport): Point[] {
  return rows.map(({ keep = 1, perplexity, change, changeError }) => {
    const error = (changeError || 0) * perplexity / (1 + change);
    return {
      kept: Number((100 * keep).toPrecision(6)),
      perplexity,
      low: perplexity - error,
      high: perplexity + error,
      label: perplexity.toFixed(3),
    };
  }).sort((a, b) => a.kept - b.kept);
}

/** Labels the shares that are drawn, but for those too near to one that has a label. */
function tickText(points: readonly Point[]): (kept: number) => string {
  const at = points.map(({ kept }) => Math.log(kept));
  const pixels = (size.width - 96 - 2 * labelWidth) /
    Math.max(1e-9, at.at(-1)! - at[0]);
  const shown = new Set<number>();
  let last = Infinity;
  for (let i = points.length - 1; i >= 0; i--) {
    if (pixels * (last - at[i]) < leastApart) continue;
    last = at[i];
    shown.add(points[i].kept);
  }
  return (kept) => shown.has(kept) ? String(kept) : "";
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(6))}%`;
}
