/**
 * The figure of quality against bytes read.
 *
 * @module
 */
import { drawing, framed, keyBelow, legend, okabeIto } from "../../svg.ts";
import type { QualityRow, SparsityReport } from "./output.ts";

const { blue, vermillion, green, purple } = okabeIto;

/** Modes that have a line, and what each is drawn with. */
const series = [
  { mode: "top-k", name: "top-k", colour: blue, symbol: "circle" },
  {
    mode: "threshold",
    name: "threshold",
    colour: vermillion,
    symbol: "square",
  },
  {
    mode: "predictor",
    name: "predictor, by score",
    colour: green,
    symbol: "triangle",
  },
  {
    mode: "recall",
    name: "predictor, by recall",
    colour: purple,
    symbol: "diamond",
  },
] as const;

/** Bytes that an axis counts in. */
const units: readonly (readonly [name: string, bytes: number])[] = [
  ["KiB", 2 ** 10],
  ["MiB", 2 ** 20],
  ["GiB", 2 ** 30],
];

/** KL divergence and perplexity against the bytes that a token reads: a line a mode. */
export async function qualityFigure(report: SparsityReport): Promise<string> {
  const { plot: { line, dot, ruleX, ruleY, text }, chart } = await drawing();
  const [dense, exact, ...rest] = report.rows;
  const [unit, bytes] = units.findLast(([, bytes]) => dense.bytes >= bytes) ??
    units[0];
  const size = { width: 372, height: 340 };
  const at = (row: QualityRow) => row.bytes / bytes;
  const places = report.rows.map(at);
  const lines = series.map(({ mode, ...style }) => ({
    ...style,
    mode,
    rows: rest.filter(({ sparsity }) => sparsity.split("=")[0] === mode)
      .toSorted((a, b) => a.divergence - b.divergence),
  })).filter(({ rows }) => rows.length > 0);
  const panel = (
    label: string,
    valueOf: (row: QualityRow) => number,
    isLogarithmic: boolean,
  ) => {
    // What is the dense model's has no place on a scale of logarithms.
    const isShown = (row: QualityRow) => !isLogarithmic || valueOf(row) > 0;
    const shownValues = rest.filter(isShown).map(valueOf);
    return chart({
      ...size,
      marginLeft: 70,
      marginTop: 30,
      marginBottom: 46,
      marginRight: 24,
      insetTop: isLogarithmic ? 0 : 8,
      insetBottom: isLogarithmic ? 0 : 8,
      x: {
        label: `${unit} read per token`,
        domain: [0.97 * Math.min(...places), 1.03 * Math.max(...places)],
        grid: true,
        ticks: 5,
      },
      y: {
        label,
        grid: true,
        ticks: 5,
        ...isLogarithmic ? powersScale(shownValues) : {},
      },
      marks: [
        ruleX([dense, exact], {
          x: at,
          stroke: "#666",
          strokeDasharray: "4,3",
        }),
        ...isLogarithmic ? [] : [
          ruleY([dense], {
            y: valueOf,
            stroke: "#666",
            strokeDasharray: "4,3",
          }),
        ],
        text(
          isFar(dense, exact) ? [dense, exact] : [dense],
          {
            x: at,
            text: "sparsity",
            frameAnchor: "top",
            dy: -16,
          },
        ),
        ...lines.flatMap(({ mode, rows, colour, symbol }) => {
          const shown = rows.filter(isShown);
          const place = { x: at, y: valueOf };
          const isNamed = mode === "recall" && isLogarithmic;
          // Others stand to the right of all but what reads the most, the first.
          const names = isNamed ? [shown.slice(0, 1), shown.slice(1)] : [];
          return [
            line(shown, { ...place, stroke: colour, strokeWidth: 1.5 }),
            dot(shown, {
              ...place,
              symbol,
              fill: colour,
              stroke: "none",
              r: 4,
            }),
            ...names.map((named, i) =>
              text(named, {
                ...place,
                text: ({ sparsity }) => recallText(sparsity),
                textAnchor: i === 0 ? "start" : "end",
                dx: i === 0 ? 8 : -8,
                dy: 1,
                stroke: "white",
                fill: "#333",
              })
            ),
          ];
        }),
      ],
    });
  };
  const panels = [
    { svg: panel("KL divergence to dense, nats", (r) => r.divergence, true) },
    { svg: panel("perplexity", ({ perplexity }) => perplexity, false) },
  ];
  const key = legend(lines.map(({ name, colour }) => [name, colour]));
  const { name, text: textName, chunks, contextSize, decodeTokens } = report;
  return framed(
    [
      `${name}: quality against bytes read`,
      `${textName}, ${chunks} chunks of ${contextSize} tokens; bytes: mean of ${decodeTokens} tokens`,
    ],
    panels,
    size,
    keyBelow(key),
  );
}

/** What a row of a recall is called beside its point: `95%`. */
function recallText(sparsity: string): string {
  return `${+(100 * Number(sparsity.split("=")[1])).toFixed(2)}%`;
}

/** Whether labels of two rows have room beside one another. */
function isFar(dense: QualityRow, exact: QualityRow): boolean {
  return (dense.bytes - exact.bytes) / dense.bytes > 0.08;
}

/** A scale of logarithms from one power of ten to another, with these alone: others would lie over them. */
function powersScale(values: readonly number[]) {
  const first = Math.floor(Math.log10(Math.min(1, ...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  return {
    type: "log",
    domain: [10 ** first, 10 ** last],
    ticks: Array.from(
      { length: last - first + 1 },
      (_, i) => 10 ** (first + i),
    ),
    tickFormat: (value: number) =>
      value < 0.01 ? value.toExponential(0) : String(value),
  } as const;
}
