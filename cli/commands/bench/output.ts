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
import { describe, modeOf } from "../../model_file.ts";
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
    sparsity: modeOf(flags.sparsity, model.model),
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

/** The writer of a form; with `verbose`, a table has more columns than llama-bench's. */
export function benchWriter(
  form: BenchForm,
  verbose: boolean,
): BenchWriter {
  switch (form) {
    case "md":
      return markdown(verbose);
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

/** A column of the table. */
interface Column {
  readonly name: string;
  readonly width: number;
  /** Whether cells stand to the left */
  readonly left?: true;
  /** Whether it is there with `-v` alone */
  readonly verbose?: true;
  readonly cell: (row: BenchRow, result: BenchResult) => string;
}

/** llama-bench's columns, and between them culm's own. */
const columns: readonly Column[] = [
  { name: "model", width: 24, left: true, cell: (row) => `${row.model_type}` },
  { name: "size", width: 10, cell: (row) => bytesOf(row.model_size) },
  {
    name: "params",
    width: 10,
    cell: (row) => formatCount(Number(row.model_n_params)),
  },
  {
    name: "backend",
    width: 18,
    left: true,
    cell: ({ backend }) =>
      `${backend}`.replace(/, (\d+ threads?|inline( \(.*\))?)/, ""),
  },
  { name: "threads", width: 7, cell: (row) => `${row.n_threads}` },
  {
    name: "KV",
    width: 4,
    left: true,
    verbose: true,
    cell: (row) => `${row.type_k}`,
  },
  {
    name: "sparsity",
    width: 9,
    left: true,
    verbose: true,
    cell: (row) => `${row.sparsity}`,
  },
  {
    name: "rows skipped",
    width: 12,
    verbose: true,
    cell: (row) => formatShare(Number(row.rows_skipped), 1),
  },
  {
    name: "streamed",
    width: 10,
    verbose: true,
    cell: (row) => bytesOf(row.bytes_streamed),
  },
  {
    name: "picked",
    width: 10,
    verbose: true,
    cell: (row) => bytesOf(row.bytes_picked),
  },
  {
    name: "of limit",
    width: 8,
    verbose: true,
    cell: ({ of_limit }) =>
      of_limit === undefined ? "-" : formatShare(Number(of_limit), 1),
  },
  { name: "test", width: 14, cell: (_row, { test }) => nameOf(test) },
  {
    name: "t/s",
    width: 18,
    cell: (row) =>
      `${Number(row.avg_ts).toFixed(2)} ± ${Number(row.stddev_ts).toFixed(2)}`,
  },
];

function bytesOf(field: BenchRow[string]): string {
  return formatBytes(Number(field));
}

function markdown(verbose: boolean): BenchWriter {
  const shown = columns.filter((column) => verbose || !column.verbose);
  const line = (cellOf: (column: Column) => string) =>
    `| ${
      shown.map((column) =>
        column.left
          ? cellOf(column).padEnd(column.width)
          : cellOf(column).padStart(column.width)
      ).join(" | ")
    } |\n`;
  return {
    begin: () =>
      line(({ name }) => name) +
      line(({ width, left }) => "-".repeat(width - 1) + (left ? "-" : ":")),
    row: (row, result) => line(({ cell }) => cell(row, result)),
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
