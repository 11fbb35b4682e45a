/**
 * How near a run comes to the memory's limit: the bytes that it read, counted,
 * over the rates at which its own threads read such bytes, measured.
 *
 * @module
 */
import type { LanguageModel } from "../../../mod.ts";
import { type LayerStats, type PlaceStats, totalOf } from "../../../lab.ts";
import type { Rates } from "../../../plan.ts";
import type { BenchResult } from "./runs.ts";
import { formatBytes, formatShare, formatTable } from "../../format.ts";
import { groupByType } from "../inspect/inspection.ts";

/** A run beside its limit. */
export interface Roofline {
  /** Bytes of weights, keys and values that a token read in sequence. */
  readonly streamed: number;
  /** Bytes of weights that a token read in rows picked here and there. */
  readonly picked: number;
  /** Bytes a second that all threads together stream. */
  readonly streamRate: number;
  /** Bytes a second that all threads together pick. */
  readonly pickRate: number;
  /** Tokens a second at which reading alone would take all the time. */
  readonly limit: number;
  /** What was reached of it. */
  readonly reached: number;
}

/** A run, and the rates of its places, measured once or several times around it. */
type Measured = Pick<BenchResult, "stats" | "samplesMs"> & {
  readonly rates: readonly (readonly Pick<Rates, "stream" | "pick">[])[];
};

/** What a result comes to. */
export function rooflineOf(
  { stats, samplesMs, rates }: Measured,
): Roofline {
  const streamed = (totalOf(stats, "streamed") + stats.headBytes) /
    stats.tokens;
  const picked = totalOf(stats, "picked") / stats.tokens;
  const perSecond = (name: "stream" | "pick") =>
    1000 * median(
      rates.map((places) => places.reduce((sum, rate) => sum + rate[name], 0)),
    );
  const streamRate = perSecond("stream"), pickRate = perSecond("pick");
  const limit = 1 / (streamed / streamRate + picked / pickRate);
  const seconds = samplesMs.reduce((sum, ms) => sum + ms, 0) / 1000;
  const reached = stats.tokens / seconds / limit;
  return { streamed, picked, streamRate, pickRate, limit, reached };
}

/** How fast each place reads, for `bench -v`. */
export function ratesText({ model, engine, backend }: LanguageModel): string {
  const { type, shape } = model.layers[0].ffn_up;
  return `rates of ${type} rows of ${shape[0]} (${backend}):\n` + formatTable([
    ["place", "streams", "picks", "rows at once", "row sums", "tile sums"],
    ...engine.rates.map((rates, i) => [
      String(i),
      `${formatBytes(1000 * rates.stream)}/s`,
      `${formatBytes(1000 * rates.pick)}/s`,
      String(rates.rowsAtOnce),
      rates.rowSums,
      rates.tileSums,
    ]),
  ]);
}

/** As what the weights of each type are kept, for `bench -v`. */
export function weightsText({ file, engine }: LanguageModel): string {
  const groups = groupByType([...file.tensors.values()]);
  return "weights, whole tensors:\n" + formatTable([
    ["type", "tensors", "in the file", "kept as", "taking"]
      .concat(engine.gpu ? ["on the GPU as", "taking"] : []),
    ...groups.map(({ name, tensors, bytes, cpu, gpu }) => [
      name,
      tensors,
      formatBytes(bytes),
      ...(engine.gpu ? [cpu, gpu] : [cpu]).flatMap(({ layout, bytes }) => [
        layout,
        formatBytes(bytes),
      ]),
    ]),
  ]);
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What each layer did for a token: its experts, its border, what fired, what was read. */
export function layersText({ layers, tokens }: PlaceStats): string {
  const hasExperts = layers.some(({ experts }) => experts > 0);
  const readsFile = layers.some(({ fileBytes }) => fileBytes > 0);
  const fileCells = (layer: LayerStats) => {
    if (!readsFile) return [];
    // A layer has experts, or rows of neurons.
    const asked = layer.readExperts + layer.askedRows;
    const missed = layer.missedExperts + layer.missedRows;
    return [
      formatShare(asked - missed, asked),
      formatBytes(Math.round(layer.fileBytes / tokens)),
    ];
  };
  const expertCells = ({ experts, chosenExperts, readExperts }: LayerStats) =>
    hasExperts
      ? [
        formatShare(chosenExperts, experts),
        (readExperts / tokens).toFixed(2),
      ]
      : [];
  const row = (layer: LayerStats) => [
    ...expertCells(layer),
    ...fileCells(layer),
    formatShare(layer.hot, layer.neurons),
    formatShare(layer.gatePositive, layer.neurons),
    formatShare(layer.active, layer.neurons),
    formatBytes(Math.round(layer.streamed / tokens)),
    formatBytes(Math.round(layer.picked / tokens)),
  ];
  return formatTable([
    [
      "layer",
      ...(hasExperts ? ["experts", "read"] : []),
      ...(readsFile ? ["in memory", "from the file"] : []),
      ...["hot", "gate > 0", "active", "streamed", "picked"],
    ],
    ...layers.map((layer, i) => [String(i), ...row(layer)]),
  ]);
}
