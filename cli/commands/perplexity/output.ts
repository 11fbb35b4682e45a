/**
 * Perplexities in the forms in which they are printed.
 *
 * @module
 */
import { estimatePerplexity, type TextScore } from "../../../lab.ts";
import { drawing, framed } from "../../svg.ts";

/** What a run has measured. */
export interface PerplexityReport {
  /** What the model is, for people */
  readonly model: string;
  readonly contextSize: number;
  readonly chunks: number;
  readonly rows: readonly PerplexityRow[];
}

/** One way to run the model, and how it predicts the text. */
export interface PerplexityRow {
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

/** A row of the scores of all chunks. */
export function rowOf(
  sparsity: string,
  keep: number | undefined,
  scores: readonly TextScore[],
): PerplexityRow {
  const estimate = estimatePerplexity(scores);
  const tokens = scores.reduce((sum, score) => sum + score.tokens, 0);
  return {
    sparsity,
    keep,
    tokens,
    nll: Math.log(estimate.perplexity),
    ...estimate,
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
  const most = rows.reduce((a, b) => (b.keep ?? 1) > (a.keep ?? 1) ? b : a);
  const cells = rows.map(({ keep, sparsity, perplexity, error }) => [
    keep === undefined ? sparsity : percent(keep),
    perplexity.toFixed(4),
    error.toFixed(5),
    signed(100 * (perplexity / most.perplexity - 1)),
  ]);
  return [["neurons kept", "PPL", "+/-", "change"], ...cells];
}

/** {@linkcode rowsOf} as a table in Markdown. */
export function toTable(report: PerplexityReport): string {
  const [header, ...cells] = rowsOf(report);
  const line = (row: readonly string[]) =>
    `| ${row.map((cell) => cell.padStart(12)).join(" | ")} |\n`;
  return line(header) +
    line(Array(4).fill("-".repeat(11) + ":")) + cells.map(line).join("");
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
  ] as const;
  const lines = rows.map((row) => names.map((name) => row[name] ?? ""));
  return [names, ...lines].map((cells) => cells.join(",") + "\n").join("");
}

/** All of a report as JSON. */
export function toJson(report: PerplexityReport): string {
  return JSON.stringify(report, undefined, 2) + "\n";
}

const size = { width: 640, height: 320 };

/**
 * Perplexity against the share of neurons kept. Standard errors are left out:
 * they are the text's, and much the same for all rows.
 */
export async function toSvg(
  { rows, model, chunks, contextSize }: PerplexityReport,
): Promise<string> {
  const { plot: { plot, line, dot, text }, document } = await drawing();
  const points = rows.map(({ keep = 1, perplexity }) => ({
    kept: 100 * keep,
    perplexity,
    label: perplexity.toFixed(3),
  }));
  const chart = plot({
    document,
    ...size,
    marginLeft: 56,
    insetLeft: 24,
    marginRight: 60,
    x: { type: "log", label: "% of neurons kept, by |activation|", ticks: 5 },
    y: { label: "perplexity", grid: true, nice: true },
    marks: [
      line(points, {
        x: "kept",
        y: "perplexity",
        stroke: "#4e79a7",
        sort: "kept",
      }),
      dot(points, { x: "kept", y: "perplexity", fill: "#4e79a7" }),
      text(points, {
        x: "kept",
        y: "perplexity",
        text: "label",
        textAnchor: "start",
        dx: 6,
        dy: -6,
      }),
    ],
  });
  const title =
    `${model}: perplexity of ${chunks} chunks of ${contextSize} tokens`;
  return framed(title, [chart.outerHTML], size);
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(6))}%`;
}

function signed(value: number): string {
  return `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(2)}%`;
}
