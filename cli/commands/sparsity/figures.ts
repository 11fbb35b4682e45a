/**
 * The figures of a sparsity report.
 *
 * @module
 */
import {
  expertUse,
  liveShares,
  type NeuronActivity,
  unionShares,
  unionSizes,
} from "../../../lab.ts";
import {
  drawing,
  framed,
  keyBelow,
  layerColours,
  legend,
  okabeIto,
  withLayerBar,
} from "../../svg.ts";
import { qualityFigure } from "./quality_figure.ts";
import {
  mean,
  type PredictorLayer,
  seldomShare,
  seldomText,
  type SparsityReport,
} from "./output.ts";

const width = 760;
const { blue, vermillion } = okabeIto;

/** Neurons live in the union of consecutive tokens: a line a layer, and their mean beside tokens that know nothing of one another. */
export async function unionFigure(activity: NeuronActivity): Promise<string> {
  const { plot: { line, dot }, chart } = await drawing();
  const size = { width: 480, height: 360 };
  const shares = unionShares(activity);
  const sizes = unionSizes.filter((_, i) => activity.windows[i] > 0);
  const curves = shares.flatMap((own, layer) =>
    sizes.map((tokens, i) => ({ tokens, layer, share: 100 * own[i] }))
  );
  const means = sizes.map((tokens, i) => ({
    tokens,
    share: 100 * mean(shares.map((own) => own[i])),
    alone: 100 * mean(shares.map(([live]) => 1 - (1 - live) ** tokens)),
  }));
  const place = { x: "tokens", y: "share" };
  const svg = chart({
    ...size,
    marginLeft: 56,
    marginBottom: 44,
    x: {
      type: "log",
      base: 2,
      label: "consecutive tokens",
      ticks: sizes,
      tickFormat: String,
    },
    y: {
      label: "% of a layer's neurons live in the union",
      grid: true,
      domain: [0, 100],
    },
    color: layerColours(shares.length),
    marks: [
      line(curves, { ...place, z: "layer", stroke: "layer", strokeWidth: 1 }),
      line(means, {
        x: "tokens",
        y: "alone",
        strokeWidth: 1.5,
        strokeDasharray: "4,3",
      }),
      line(means, { ...place, strokeWidth: 2.5 }),
      dot(means, { ...place, fill: "black", r: 3 }),
    ],
  });
  const panel = await withLayerBar(svg, size, shares.length);
  return framed(
    [
      "Live neurons in the union of tokens",
      `black: mean of the layers, ${activity.tokens} tokens`,
      "dashed: were tokens independent",
    ],
    [panel],
    panel.size,
  );
}

/** Layers along an axis, of which as many have a number as there is room for. */
function layerAxis(count: number) {
  const every = Math.ceil(count / 16);
  return {
    label: "layer",
    domain: [-0.6, count - 0.4],
    ticks: Array.from(
      { length: Math.ceil(count / every) },
      (_, i) => i * every,
    ),
    tickFormat: String,
  };
}

/** Live shares of tokens as boxes, a layer each. */
export async function liveFigure(activity: NeuronActivity): Promise<string> {
  const { plot: { rect, ruleX, ruleY, dot }, chart } = await drawing();
  const size = { width, height: 300 };
  const boxes = liveShares(activity).map((shares, layer) => ({
    layer,
    left: layer - 0.32,
    right: layer + 0.32,
    ...Object.fromEntries(
      Object.entries(shares).map(([name, share]) => [name, 100 * share]),
    ),
  }));
  const svg = chart({
    ...size,
    marginLeft: 56,
    marginBottom: 44,
    x: layerAxis(boxes.length),
    y: { label: "% of a layer's neurons live", grid: true, zero: true },
    marks: [
      ruleX(boxes, { x: "layer", y1: "p5", y2: "p95", stroke: "#333" }),
      rect(boxes, {
        x1: "left",
        x2: "right",
        y1: "p25",
        y2: "p75",
        fill: "#a6cee3",
        stroke: "#333",
      }),
      ruleY(boxes, {
        y: "median",
        x1: "left",
        x2: "right",
        strokeWidth: 2,
      }),
      dot(boxes, { x: "layer", y: "mean", fill: vermillion, r: 2.5 }),
      ruleY([0]),
    ],
  });
  return framed(
    [
      "Live neurons of a token, by layer",
      `boxes: quartiles and median of ${activity.tokens} tokens; whiskers: 5% and 95%; dots: means`,
    ],
    [{ svg }],
    size,
  );
}

/** A predictor's recall and precision, by layer. */
export async function predictorFigure(
  layers: readonly PredictorLayer[],
): Promise<string> {
  const { plot: { line, dot }, chart } = await drawing();
  const size = { width, height: 300 };
  const curves = [
    { name: "recall", colour: blue, symbol: "circle" },
    { name: "precision", colour: vermillion, symbol: "square" },
  ] as const;
  const svg = chart({
    ...size,
    marginLeft: 56,
    marginBottom: 44,
    x: layerAxis(layers.length),
    y: { label: "recall, precision (%)", grid: true, domain: [0, 100] },
    marks: curves.flatMap(({ name, colour, symbol }) => {
      const points = layers.map((layer, i) => ({
        layer: i,
        share: 100 * layer[name],
      })).filter(({ share }) => Number.isFinite(share));
      const place = { x: "layer", y: "share" };
      return [
        line(points, { ...place, stroke: colour, strokeWidth: 1.5 }),
        dot(points, { ...place, symbol, fill: colour, stroke: "none", r: 4 }),
      ];
    }),
  });
  const key = legend(curves.map(({ name, colour }) => [name, colour]));
  return framed(
    [
      "Predictor recall and precision, by layer",
      "at the predictor's own thresholds",
    ],
    [{ svg }],
    size,
    keyBelow(key),
  );
}

/** Which share of tokens choose each expert, as a map of layers and experts. */
export async function expertFigure(activity: NeuronActivity): Promise<string> {
  const { plot: { rect }, chart } = await drawing();
  const use = expertUse(activity), layers = use.length;
  const cells = use.flatMap((shares, layer) =>
    shares.map((share, expert) => ({ layer, expert, share: 100 * share }))
  );
  const most = Math.max(...cells.map(({ share }) => share));
  const colour = { scheme: "viridis", domain: [0, most] } as const;
  const size = {
    width,
    height: 70 + Math.max(12, Math.min(32, 320 / layers)) * layers,
  };
  const every = Math.ceil(layers / Math.floor(size.height / 20));
  const svg = chart({
    ...size,
    marginLeft: 56,
    marginBottom: 44,
    x: { ...layerAxis(use[0].length), label: "expert" },
    y: {
      label: "layer",
      domain: [layers - 0.5, -0.5],
      ticks: Array.from(
        { length: Math.ceil(layers / every) },
        (_, i) => i * every,
      ),
      tickFormat: String,
    },
    color: colour,
    marks: [
      rect(cells, {
        x1: ({ expert }) => expert - 0.5,
        x2: ({ expert }) => expert + 0.5,
        y1: ({ layer }) => layer - 0.5,
        y2: ({ layer }) => layer + 0.5,
        fill: "share",
        shapeRendering: "crispEdges",
      }),
    ],
  });
  const keySize = { width: 300, height: 68 };
  const steps = Array.from({ length: 100 }, (_, i) => i * most / 100);
  const key = chart({
    ...keySize,
    marginTop: 8,
    marginBottom: 42,
    x: { label: "% of tokens that choose an expert", ticks: 5 },
    color: colour,
    marks: [
      rect(steps, {
        x1: (share) => share,
        x2: (share) => share + most / 100,
        fill: (share) => share,
        shapeRendering: "crispEdges",
      }),
    ],
  });
  const seldom = (100 * seldomShare(use.flat())).toFixed(0);
  return framed(
    [
      "Use of experts",
      `${seldom}% of the experts are chosen by ${seldomText} of the ${activity.tokens} tokens`,
    ],
    [{ svg }],
    size,
    { ...keySize, svg: key },
  );
}

/** A figure: how its file's name ends, and what draws it. */
export type Figure = readonly [name: string, draw: () => Promise<string>];

/** The figures that a report has. */
export function figuresOf(report: SparsityReport): Figure[] {
  const { activity, predictor } = report;
  const figures: Figure[] = [["quality", () => qualityFigure(report)]];
  if (activity) {
    figures.push(
      ["live", () => liveFigure(activity)],
      ["union", () => unionFigure(activity)],
    );
  }
  if (predictor) figures.push(["predictor", () => predictorFigure(predictor)]);
  if (activity && expertUse(activity).length > 0) {
    figures.push(["experts", () => expertFigure(activity)]);
  }
  return figures;
}
