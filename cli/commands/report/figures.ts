/**
 * The figures that only a report has. Shares are drawn as percents.
 *
 * @module
 */
import { activationCdf, type Profile } from "../../../plan.ts";
import type { LayerShares, Stretch } from "./sparsity.ts";
import { drawing, framed, layerColours, withLayerBar } from "../../svg.ts";

const width = 760;
const pale = "#a0cbe8", dark = "#4e79a7";

/** A bar for each layer: gates that are positive, and in front of it products that are not zero. */
export async function layerFigure(
  layers: readonly LayerShares[],
): Promise<string> {
  const { plot: { barY, ruleY }, chart } = await drawing();
  const size = { width, height: 240 };
  const bars = layers.map(({ gatePositive, active }, layer) => ({
    layer,
    gatePositive: 100 * gatePositive,
    active: 100 * active,
  }));
  const svg = chart({
    ...size,
    marginLeft: 56,
    marginBottom: 40,
    x: { label: "layer", interval: 1, tickSize: 0 },
    y: { label: "% of neurons", grid: true, nice: true },
    marks: [
      barY(bars, { x: "layer", y: "gatePositive", fill: pale }),
      barY(bars, {
        x: "layer",
        y: "active",
        fill: dark,
        insetLeft: 3,
        insetRight: 3,
      }),
      ruleY([0]),
    ],
  });
  const title = "Neurons that fire, by layer: gate > 0 (pale), product ≠ 0";
  return framed([title], [{ svg }], size);
}

/** Two charts, of gates and of products: a line a layer over the positions of the text, and their mean. */
export async function positionFigure(
  stretches: readonly Stretch[],
): Promise<string> {
  const { plot: { line, dot }, chart } = await drawing();
  const size = { width: 372, height: 280 };
  const nameOf = ({ first, end }: Stretch) =>
    end - first === 1 ? `${first}` : `${first}–${end - 1}`;
  const count = stretches[0].layers.length;
  const charts = (["gatePositive", "active"] as const).map((name) => {
    const lines = stretches.flatMap((stretch) =>
      stretch.layers.map((shares, layer) => ({
        positions: nameOf(stretch),
        layer,
        share: 100 * shares[name],
      }))
    );
    const means = stretches.map((stretch) => ({
      positions: nameOf(stretch),
      share: 100 *
        stretch.layers.reduce((sum, shares) => sum + shares[name], 0) /
        stretch.layers.length,
    }));
    const what = name === "active" ? "product ≠ 0" : "gate > 0";
    return chart({
      ...size,
      marginLeft: 56,
      marginBottom: 76,
      x: {
        type: "point",
        domain: stretches.map(nameOf),
        label: "position in the text",
        tickRotate: -40,
      },
      y: { label: `% of neurons with ${what}`, grid: true, zero: true },
      color: layerColours(count),
      marks: [
        line(lines, {
          x: "positions",
          y: "share",
          z: "layer",
          stroke: "layer",
          strokeWidth: 1,
        }),
        line(means, { x: "positions", y: "share", strokeWidth: 2.5 }),
        dot(means, { x: "positions", y: "share", fill: "black", r: 3 }),
      ],
    });
  });
  const panels = await Promise.all(
    charts.map((svg) => withLayerBar(svg, size, count)),
  );
  const title = "Neurons that fire, by position; black: mean of the layers";
  return framed([title], panels, panels[0].size);
}

/** Most cells of a layer's row in the map. */
const mostCells = 128;
/** The share of a layer's activations to which the mark in its row points. */
const markedShare = 0.8;

/** A row for each layer: its neurons, hottest first, coloured by how often they fire. */
export async function hotMap(profile: Profile): Promise<string> {
  const { plot: { rect, tickX }, chart } = await drawing();
  const { layers, tokens } = profile;
  const cells = layers.flatMap(({ active }, layer) =>
    cellsOf(active.toSorted().reverse(), tokens).map((cell) => ({
      ...cell,
      layer,
    }))
  );
  const marks = activationCdf(profile).map((cdf, layer) => ({
    layer,
    x: 100 * cdf.findIndex((share) => share >= markedShare) / (cdf.length - 1),
  })).filter(({ x }) => x >= 0);
  const size = {
    width,
    height: 70 + Math.max(15, 260 / layers.length) * layers.length,
  };
  const colour = { type: "sqrt", scheme: "YlOrRd", domain: [0, 100] } as const;
  const names = layers.map((_, layer) => layer);
  const svg = chart({
    ...size,
    marginLeft: 50,
    marginBottom: 44,
    padding: 0.05,
    x: { label: "% of a layer's neurons, hottest first", domain: [0, 100] },
    y: { type: "band", domain: names, label: "layer", tickSize: 0 },
    color: colour,
    marks: [
      rect(cells, {
        x1: "x1",
        x2: "x2",
        y: "layer",
        fill: "share",
        shapeRendering: "crispEdges",
      }),
      tickX(marks, { x: "x", y: "layer", strokeWidth: 1.5 }),
    ],
  });
  const steps = Array.from({ length: 101 }, (_, share) => share);
  const keySize = { width: 300, height: 68 };
  const key = chart({
    ...keySize,
    marginTop: 8,
    marginBottom: 42,
    x: { label: "% of tokens for which a neuron fires" },
    color: colour,
    marks: [
      rect(steps, {
        x1: (share) => share - 0.5,
        x2: (share) => share + 0.5,
        fill: (share) => share,
        shapeRendering: "crispEdges",
      }),
    ],
  });
  const title = `Hot neurons by layer; mark: where ${
    100 * markedShare
  }% of the layer's activations are reached`;
  return framed([title], [{ svg }], size, { ...keySize, svg: key });
}

/** Neurons in as many equal cells as there is room for: where each lies, in percent, and its mean share. */
function cellsOf(
  hottestFirst: Uint32Array,
  tokens: number,
): { x1: number; x2: number; share: number }[] {
  const { length } = hottestFirst;
  const count = Math.min(mostCells, length);
  return Array.from({ length: count }, (_, i) => {
    const first = Math.floor(i * length / count);
    const end = Math.floor((i + 1) * length / count);
    const sum = hottestFirst.subarray(first, end).reduce((a, b) => a + b, 0);
    return {
      x1: 100 * first / length,
      x2: 100 * end / length,
      share: 100 * sum / ((end - first) * Math.max(1, tokens)),
    };
  });
}
