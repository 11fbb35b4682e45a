/**
 * A plan as a picture: by layer, how much of it is on the GPU, and the time that
 * it is expected to take.
 *
 * @module
 */
import { type PlanReport, tokensPerSecond } from "./planning.ts";
import {
  drawing,
  headerHeight,
  legend,
  lineHeight,
  margin,
  placed,
  sheet,
} from "../../svg.ts";

const width = 760, height = 260, marginLeft = 68, marginRight = 16;

/** The colours of what a bar is made of. */
const colours = {
  "neurons on the GPU": "#4e79a7",
  "whole experts on the GPU": "#4e79a7",
  "neurons of all experts": "#76b7b2",
  "chosen experts": "#b07aa1",
  "activations on the GPU": "#f28e2b",
  "GPU": "#4e79a7",
  "CPU": "#59a14f",
  "exchange": "#e15759",
  "what a layer takes": "black",
};

type Name = keyof typeof colours;

/** An SVG of two charts, one above the other; of the lower one alone where there is no GPU. */
export async function toSvg(report: PlanReport): Promise<string> {
  const { machine, prediction, name, model } = report;
  const charts = [{
    svg: await timeChart(prediction.layers),
    legend: legendOf("GPU", "CPU", "exchange", "what a layer takes"),
  }];
  if (machine.gpu) {
    const ofExperts: Name[] = [
      "whole experts on the GPU",
      "neurons of all experts",
      "chosen experts",
    ];
    const names = model.routing ? ofExperts : ["neurons on the GPU"] as const;
    charts.unshift({
      svg: await shareChart(report),
      legend: legendOf(...names, "activations on the GPU"),
    });
  }
  return stacked([
    `${name}: ${tokensPerSecond(prediction).toFixed(1)} tokens/s predicted`,
    `on ${machine.description}`,
  ], charts);
}

type Layers = PlanReport["prediction"]["layers"];

const common = { width, height, marginLeft, marginRight, marginBottom: 42 };
const layerAxis = { label: "layer", interval: 1, tickSize: 0 };

/** By layer, how much of it is on the GPU; of experts, how it is cut, and the share of those chosen that have neurons there. */
async function shareChart(
  { prediction: { layers }, model: { routing } }: PlanReport,
): Promise<string> {
  const { plot: { barY, dot, ruleY }, chart } = await drawing();
  const shares = layers.map(({ hotShare, coverage, experts }, layer) => ({
    layer,
    neurons: 100 * hotShare,
    activations: 100 * coverage,
    colour: colours[barOf(experts)],
    chosen: 100 * (experts?.chosen ?? 0) / (routing?.used ?? 1),
  }));
  return chart({
    ...common,
    x: layerAxis,
    y: { label: "% of a layer", domain: [0, 100], grid: true, ticks: 5 },
    marks: [
      barY(shares, {
        x: "layer",
        y: "neurons",
        fill: "colour",
      }),
      ...routing
        ? [dot(shares, {
          x: "layer",
          y: "chosen",
          fill: colours["chosen experts"],
          symbol: "diamond",
          r: 7,
        })]
        : [],
      dot(shares, {
        x: "layer",
        y: "activations",
        fill: colours["activations on the GPU"],
        r: 4,
      }),
      ruleY([0]),
    ],
  });
}

/** What a layer's bar is of. */
function barOf(experts: Layers[number]["experts"]): Name {
  if (!experts) return "neurons on the GPU";
  return experts.isWhole
    ? "whole experts on the GPU"
    : "neurons of all experts";
}

/** By layer, what each side computes: side by side, for they compute at once. */
async function timeChart(layers: Layers): Promise<string> {
  const { plot: { barY, tickY, ruleY }, chart } = await drawing();
  const padding = 0.2;
  const step = (width - marginLeft - marginRight) / (layers.length + padding);
  const bar = step * (1 - padding) / 3;
  const times = layers.map((prediction, layer) => ({ ...prediction, layer }));
  const sides = [
    ["gpuMs", "GPU"],
    ["cpuMs", "CPU"],
    ["exchangeMs", "exchange"],
  ] as const;
  return chart({
    ...common,
    x: { ...layerAxis, padding },
    y: { label: "ms", grid: true, ticks: 5 },
    marks: [
      ...sides.map(([y, name], i) =>
        barY(times, {
          x: "layer",
          y,
          fill: colours[name],
          insetLeft: i * bar,
          insetRight: (2 - i) * bar,
        })
      ),
      tickY(times, { x: "layer", y: "ms", strokeWidth: 2 }),
      ruleY([0]),
    ],
  });
}

/** Charts with their legends, one above the other. */
function stacked(
  lines: readonly string[],
  charts: readonly { readonly svg: string; readonly legend: string }[],
): string {
  const top = headerHeight(lines), block = height + lineHeight + margin;
  const body = charts.map(({ svg, legend }, i) => {
    const y = top + i * block;
    return `<g transform="translate(${margin},${
      y + lineHeight / 2
    })">${legend}</g>` +
      placed(svg, margin, y + lineHeight);
  });
  return sheet(lines, body.join(""), {
    width: width + 2 * margin,
    height: top + charts.length * block,
  });
}

function legendOf(...names: Name[]): string {
  return legend(names.map((name) => [name, colours[name]]));
}
