/**
 * A plan as a picture: by layer, how much of it is on the GPU, and the time that
 * it is expected to take.
 *
 * @module
 */
import { type PlanReport, tokensPerSecond } from "./planning.ts";
import { drawing, escaped, legend, margin, placed, sheet } from "../../svg.ts";

const width = 760, height = 230;

/** The colours of what a bar is made of. */
const colours = {
  "neurons on the GPU": "#4e79a7",
  "activations on the GPU": "#f28e2b",
  "GPU": "#4e79a7",
  "CPU": "#59a14f",
  "exchange": "#e15759",
};

/** An SVG of two charts, one above the other; of the lower one alone where there is no GPU. */
export async function toSvg(report: PlanReport): Promise<string> {
  const { plot: { plot, barY, lineY, dot, ruleY }, document } = await drawing();
  const { layers } = report.prediction;
  const shares = layers.flatMap(({ hotShare, coverage }, layer) => [
    { layer, share: 100 * hotShare, what: "neurons on the GPU" },
    { layer, share: 100 * coverage, what: "activations on the GPU" },
  ]);
  // Both sides compute at once: the bar beside them is what a layer takes.
  const times = layers.flatMap(({ cpuMs, gpuMs, exchangeMs }, layer) => [
    { layer, ms: gpuMs, what: "GPU" },
    { layer, ms: cpuMs, what: "CPU" },
    { layer, ms: exchangeMs, what: "exchange" },
  ]);
  const common = { document, width, height, marginLeft: 46, marginBottom: 34 };
  const colour = (...names: (keyof typeof colours)[]) => ({
    domain: names,
    range: names.map((name) => colours[name]),
  });
  const x = { label: "layer", interval: 1, tickSize: 0 };
  const shareChart = () =>
    plot({
      ...common,
      x,
      y: { label: "% of a layer", domain: [0, 100], grid: true },
      color: colour("neurons on the GPU", "activations on the GPU"),
      marks: [
        barY(shares.filter(({ what }) => what.startsWith("neurons")), {
          x: "layer",
          y: "share",
          fill: "what",
        }),
        dot(shares.filter(({ what }) => what.startsWith("activations")), {
          x: "layer",
          y: "share",
          fill: "what",
          r: 3,
        }),
        ruleY([0]),
      ],
    });
  const timeChart = () =>
    plot({
      ...common,
      x,
      y: { label: "ms (sides at once)", grid: true },
      color: colour("GPU", "CPU", "exchange"),
      marks: [
        barY(times, { x: "layer", y: "ms", fill: "what" }),
        lineY(layers.map(({ ms }, layer) => ({ layer, ms })), {
          x: "layer",
          y: "ms",
          stroke: "black",
          marker: "circle-fill",
        }),
        ruleY([0]),
      ],
    });
  const title = `${report.name}: ${
    tokensPerSecond(report.prediction).toFixed(1)
  } tokens/s predicted`;
  const charts = [{
    svg: timeChart().outerHTML,
    legend: legendOf("GPU", "CPU", "exchange") +
      `<text x="450" y="0">line: what a layer takes</text>`,
  }];
  if (report.machine.gpu) {
    charts.unshift({
      svg: shareChart().outerHTML,
      legend: legendOf("neurons on the GPU", "activations on the GPU"),
    });
  }
  return framed(title, `on ${report.machine.description}`, charts);
}

const lineHeight = 22, titleHeight = lineHeight + 18;

/** One SVG of two lines of title, charts with their legends, and nothing that another file would have to bring. */
function framed(
  title: string,
  subtitle: string,
  charts: readonly { readonly svg: string; readonly legend: string }[],
): string {
  const block = height + lineHeight + margin;
  const body = charts.map(({ svg, legend }, i) => {
    const top = 2 * margin + titleHeight + i * block;
    return `<g transform="translate(${margin},${top})">${legend}</g>` +
      placed(svg, margin, top + lineHeight / 2);
  });
  const total = margin + titleHeight + charts.length * block;
  return sheet(
    title,
    `<text x="${margin}" y="${margin + 26}">${escaped(subtitle)}</text>` +
      body.join(""),
    { width: width + 2 * margin, height: total },
  );
}

function legendOf(...names: (keyof typeof colours)[]): string {
  return legend(names.map((name) => [name, colours[name]]), 150);
}
