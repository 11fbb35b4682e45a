/**
 * Results of a benchmark in llama-bench's forms.
 *
 * @module
 */
import type { LanguageModel } from "../../../mod.ts";
import type { GpuCounts } from "../../../plan.ts";
import { type PlaceStats, totalOf } from "../../../lab.ts";
import { type BenchResult, nameOf } from "./runs.ts";
import { formatBytes, formatCount, formatShare } from "../../format.ts";
import { describe } from "../../model_file.ts";
import { recallOf } from "../../recall.ts";
import { rooflineOf } from "./roofline.ts";
import { cacheTypeOf, type LoadFlags } from "../../options.ts";
import { ffnRows } from "../../timings.ts";

/** Forms of output. */
export const benchForms = ["md", "json", "jsonl", "csv"] as const;

/** One of the forms of output. */
export type BenchForm = typeof benchForms[number];

/** What a row of the output says, by llama-bench's names where it has one. */
export type BenchRow = Readonly<
  Record<string, string | number | readonly number[]>
>;

/** Everything that is known of a result. */
export function rowOf(
  result: BenchResult,
  model: LanguageModel,
  flags: LoadFlags,
): BenchRow {
  const { test, samplesMs, stats } = result;
  const speeds = samplesMs.map((ms) => 1000 * test.tokens / ms);
  const nanoseconds = samplesMs.map((ms) => Math.round(ms * 1e6));
  const { computed, total } = ffnRows(stats);
  const roofline = rooflineOf(result);
  const shareOf = (name: "gatePositive" | "active" | "hot") =>
    totalOf(stats, name) / totalOf(stats, "neurons");
  const type = cacheTypeOf(flags);
  return {
    model_filename: flags.model ?? "tiny-bamboo-q8_0.gguf (embedded)",
    model_type: describe(model),
    model_size: sizeOf(model),
    model_n_params: model.model.parameterCount,
    backend: model.backend,
    n_threads: Number(model.backend.match(/(\d+) threads?/)?.[1] ?? 0),
    n_batch: flags.batchSize,
    type_k: type,
    type_v: type,
    sparsity: flags.sparsity.mode,
    profile_tokens: model.profile?.tokens ?? 0,
    n_prompt: test.kind === "pp" ? test.tokens : 0,
    n_gen: test.kind === "tg" ? test.tokens : 0,
    n_depth: test.depth,
    test_time: result.time.toISOString(),
    avg_ns: Math.round(mean(nanoseconds)),
    stddev_ns: Math.round(deviation(nanoseconds)),
    avg_ts: mean(speeds),
    stddev_ts: deviation(speeds),
    rows_skipped: total > 0 ? (total - computed) / total : 0,
    gate_positive: shareOf("gatePositive"),
    active: shareOf("active"),
    hot: shareOf("hot"),
    ...(totalOf(stats, "truth") > 0 ? recallFields(stats) : {}),
    bytes_streamed: Math.round(roofline.streamed),
    bytes_picked: Math.round(roofline.picked),
    stream_rate: Math.round(roofline.streamRate),
    pick_rate: Math.round(roofline.pickRate),
    // Rates are the CPU's: they limit nothing where a GPU takes part.
    ...(result.gpu
      ? gpuFields(result.gpu, stats.tokens, model)
      : { limit_ts: roofline.limit, of_limit: roofline.reached }),
    samples_ns: nanoseconds,
    samples_ts: speeds,
  };
}

function recallFields(stats: PlaceStats): BenchRow {
  const { predicted, recall, missedMass } = recallOf(stats);
  return { predicted, recall, missed_mass: missedMass };
}

function gpuFields(
  counts: GpuCounts,
  tokens: number,
  { engine: { gpu } }: LanguageModel,
): BenchRow {
  return {
    gpu: gpu?.name ?? "",
    gpu_bytes: gpu?.bytes ?? 0,
    gpu_dispatches: counts.dispatches / tokens,
    gpu_submits: counts.submits / tokens,
    gpu_read_backs: counts.readBacks / tokens,
    gpu_uploaded: counts.uploaded / tokens,
    gpu_downloaded: counts.downloaded / tokens,
  };
}

/** Writes results one after another: first `begin`, then `row` for each, then `end`. */
export interface BenchWriter {
  begin(): string;
  row(row: BenchRow, result: BenchResult): string;
  end(): string;
}

/** The writer of a form. */
export function benchWriter(
  form: BenchForm,
  model: LanguageModel,
  sparse: boolean,
): BenchWriter {
  switch (form) {
    case "md":
      return markdown(model, sparse);
    case "json":
      return json();
    case "jsonl":
      return {
        begin: () => "",
        row: (row) => `${JSON.stringify(row)}\n`,
        end: () => "",
      };
    case "csv":
      return csv();
  }
}

function json(): BenchWriter {
  let separator = "\n  ";
  return {
    begin: () => "[",
    row: (row) => {
      const text = separator +
        JSON.stringify(row, undefined, 2).replaceAll("\n", "\n  ");
      separator = ",\n  ";
      return text;
    },
    end: () => "\n]\n",
  };
}

function csv(): BenchWriter {
  let hasHeader = false;
  const line = (cells: readonly unknown[]) =>
    cells.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(",") +
    "\n";
  return {
    begin: () => "",
    row: (row) => {
      const fields = Object.entries(row).filter(([, value]) =>
        typeof value !== "object"
      );
      const header = hasHeader
        ? ""
        : fields.map(([name]) => name).join(",") + "\n";
      hasHeader = true;
      return header + line(fields.map(([, value]) => value));
    },
    end: () => "",
  };
}

function markdown(model: LanguageModel, sparse: boolean): BenchWriter {
  const columns: [name: string, width: number, right: boolean][] = [
    ["model", 24, false],
    ["size", 10, true],
    ["params", 10, true],
    ["backend", 18, false],
    ["threads", 7, true],
    ["KV", 4, false],
    ...(sparse
      ? [["sparsity", 9, false], ["rows skipped", 12, true]] as [
        string,
        number,
        boolean,
      ][]
      : []),
    ["streamed", 10, true],
    ["picked", 10, true],
    ["of limit", 8, true],
    ["test", 14, true],
    ["t/s", 18, true],
  ];
  const line = (cells: readonly string[]) =>
    `| ${
      cells.map((cell, i) => {
        const [, width, right] = columns[i];
        return right ? cell.padStart(width) : cell.padEnd(width);
      }).join(" | ")
    } |\n`;
  return {
    begin: () =>
      line(columns.map(([name]) => name)) +
      line(columns.map(([, width, right]) =>
        "-".repeat(width - 1) + (right ? ":" : "-")
      )),
    row: (row, { test }) =>
      line([
        String(row.model_type),
        formatBytes(sizeOf(model)),
        formatCount(model.model.parameterCount),
        model.backend.replace(/, (\d+ threads?|inline( \(.*\))?)/, ""),
        String(row.n_threads),
        String(row.type_k),
        ...(sparse
          ? [String(row.sparsity), formatShare(Number(row.rows_skipped), 1)]
          : []),
        formatBytes(Number(row.bytes_streamed)),
        formatBytes(Number(row.bytes_picked)),
        row.of_limit === undefined ? "-" : formatShare(Number(row.of_limit), 1),
        nameOf(test),
        `${Number(row.avg_ts).toFixed(2)} ± ${
          Number(row.stddev_ts).toFixed(2)
        }`,
      ]),
    end: () => "",
  };
}

/** Bytes of all tensors in the file. */
function sizeOf({ file }: LanguageModel): number {
  return [...file.tensors.values()].reduce(
    (sum, tensor) => sum + tensor.byteLength,
    0,
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Sample standard deviation; 0 of a single value. */
function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = mean(values);
  return Math.sqrt(
    values.reduce((sum, value) => sum + (value - center) ** 2, 0) /
      (values.length - 1),
  );
}
