/**
 * A plan for people, and for programs.
 *
 * @module
 */
import type { LayerPrediction } from "../../../plan.ts";
import {
  aligned,
  expertsText,
  formatBytes,
  formatShare,
  formatTable,
} from "../../format.ts";
import { type PlanReport, tokensPerSecond } from "./planning.ts";
import { residentText } from "../../residents.ts";
import { printable } from "../../terminal.ts";

/** The plan as a table by layer, and what it comes to. */
export function toText(report: PlanReport): string {
  return formatTable(summaryOf(report)) + "\n" +
    formatTable(aligned(layerRows(report))) + "\n" +
    formatTable(totalsOf(report));
}

/** What each layer has where, and the time that takes; headings first. */
export function layerRows(report: PlanReport): (string | number)[][] {
  const { prediction, layerBytes, model } = report;
  const header = [
    "layer",
    "attention",
    "on the GPU",
    ...model.routing ? ["experts", "chosen"] : [],
    "activations",
    "bytes",
    "CPU ms",
    "GPU ms",
    "exchange",
    "ms",
  ];
  const rows = prediction.layers.map((layer, i) => [
    i,
    layer.attention.join("+").toUpperCase(),
    percent(layer.hotShare),
    ...expertCells(report, layer),
    percent(layer.coverage),
    formatBytes(Math.round(layerBytes[i])),
    milliseconds(layer.cpuMs),
    milliseconds(layer.gpuMs),
    milliseconds(layer.exchangeMs),
    milliseconds(layer.ms),
  ]);
  return [header, ...rows];
}

/** How many experts of a layer are on the GPU, whole or some neurons of each, and how many of these a token chooses. */
function expertCells(
  { model: { expertCount, routing } }: PlanReport,
  { hotShare, experts }: LayerPrediction,
): string[] {
  if (!experts || !routing) return [];
  const { held, chosen, isWhole } = experts;
  return [
    `${held} of ${expertCount}${
      isWhole ? "" : `, ${percent(hotShare)} of each`
    }`,
    `${chosen.toFixed(1)} of ${routing.used}`,
  ];
}

/** What the plan is for: names and texts. */
export function summaryOf(report: PlanReport): string[][] {
  const { machine, model, budget, gpu, bytes } = report;
  const { cpu, gpu: device } = machine;
  const rates = (bytesPerMs: number) => `${(bytesPerMs / 1e6).toFixed(1)} GB/s`;
  return [
    [
      "model",
      `${printable(report.name)}, ${model.layers.length} layers${
        model.routing
          ? ` of ${expertsText(model.routing, model.expertCount)}`
          : ""
      }`,
    ],
    ["machine", machine.description],
    [
      "rates",
      `CPU ${rates(cpu.stream)} streamed, ${rates(cpu.pick)} picked${
        device
          ? `; GPU ${rates(device.stream)}, ${
            (1000 * device.dispatch).toFixed(0)
          } µs a dispatch, ${
            (1000 * device.readBack).toFixed(0)
          } µs a read-back`
          : ""
      }`,
    ],
    [
      "running",
      `sparsity ${report.sparsity.mode}, ${report.cacheType} KV cache of ${report.contextSize} positions, of which a token reads ${report.positions}`,
    ],
    ["firing", printable(report.firingSource)],
    ...report.residents
      ? [["memory", residentText(report.residents, model)]]
      : [],
    [
      "budget",
      device
        ? `${formatBytes(bytes)} of ${
          Number.isFinite(budget) ? formatBytes(budget) : "no stated limit"
        }${gpu ? "" : ": nothing is better on the GPU"}`
        : "no GPU",
    ],
  ];
}

/** What the plan comes to, and what other plans would: names and texts. */
export function totalsOf(report: PlanReport): string[][] {
  const { prediction, others, gpu } = report;
  const { layers } = prediction;
  const { activations, neurons } = coveredBy(layers);
  const rate = (value: number) => `${value.toFixed(2)} tokens/s`;
  const lines: string[][] = [];
  if (gpu) {
    lines.push([
      "on the GPU",
      `${percent(neurons)} of the neurons, ${
        percent(activations)
      } of the activations, ${
        gpu.vocab.end > 0
          ? "and the vocabulary"
          : "the vocabulary is on the CPU"
      }; ${prediction.readBacks} read-backs a token`,
    ]);
  }
  lines.push([
    "predicted",
    `${rate(tokensPerSecond(prediction))} (${milliseconds(prediction.ms)} ms, ${
      milliseconds(prediction.vocabMs)
    } of it embedding and output head)`,
  ]);
  for (const [name, other] of Object.entries(others)) {
    lines.push([name, rate(tokensPerSecond(other))]);
  }
  return lines;
}

/** Shares of all layers together; layers fire equally often, to within a little. */
function coveredBy(layers: readonly LayerPrediction[]) {
  const mean = (valueOf: (layer: LayerPrediction) => number) =>
    layers.reduce((sum, layer) => sum + valueOf(layer), 0) / layers.length;
  return {
    neurons: mean(({ hotShare }) => hotShare),
    activations: mean(({ coverage }) => coverage),
  };
}

/** The plan as JSON. */
export function toJson(report: PlanReport): string {
  const { name, machine, model, prediction, others, layerBytes } = report;
  return JSON.stringify(
    {
      model: name,
      machine,
      sparsity: report.sparsity,
      firing: report.firingSource,
      cacheType: report.cacheType,
      contextSize: report.contextSize,
      positions: report.positions,
      budget: report.budget,
      bytes: report.bytes,
      vocabulary: report.gpu !== undefined && report.gpu.vocab.end > 0
        ? "gpu"
        : "cpu",
      feedForwardSize: model.feedForwardSize,
      layers: prediction.layers.map((layer, i) => ({
        ...layer,
        bytes: layerBytes[i],
      })),
      ...report.residents,
      vocabMs: prediction.vocabMs,
      readBacks: prediction.readBacks,
      ms: prediction.ms,
      tokensPerSecond: tokensPerSecond(prediction),
      others: Object.fromEntries(
        Object.entries(others).map(([other, prediction]) => [
          other,
          { ms: prediction.ms, tokensPerSecond: tokensPerSecond(prediction) },
        ]),
      ),
    },
    undefined,
    2,
  ) + "\n";
}

function percent(share: number): string {
  return formatShare(share, 1);
}

function milliseconds(ms: number): string {
  return ms.toFixed(2);
}
