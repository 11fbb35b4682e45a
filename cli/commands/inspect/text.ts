/**
 * An inspection for people, and for programs.
 *
 * @module
 */
import type { MetadataEntry, MetadataValue } from "../../../gguf.ts";
import { type Packings, packingsOf } from "../../../plan.ts";
import {
  expertsText,
  formatBytes,
  formatCount,
  formatTable,
} from "../../format.ts";
import type { Inspection, TensorGroup } from "./inspection.ts";
import { printable } from "../../terminal.ts";

/** Longest metadata value that is shown whole, in characters. */
const longest = 80;

/** The inspection as text; with `everyTensor`, a line for each tensor. */
export function toText(inspection: Inspection, everyTensor: boolean): string {
  const { file } = inspection;
  const metadata = [...file.metadata].map(([key, entry]) => [
    `  ${printable(key)}`,
    typeOf(entry),
    shorten(printable(show(entry.value))),
  ]);
  const tensors = everyTensor
    ? [...file.tensors.values()].map((tensor) => [
      `  ${printable(tensor.name)}`,
      tensor.type,
      `[${tensor.shape.join(", ")}]`,
      tensor.byteLength,
      ...packingCells(packingsOf(tensor), (bytes) => bytes),
    ])
    : [
      ...inspection.byType.map((group) => [
        ...groupRow(group),
        ...packingCells(group, formatBytes),
      ]),
      ...alikeLayers(inspection.byLayer).map(groupRow),
    ];
  return formatTable(summaryOf(inspection)) +
    `\nmetadata (${metadata.length} keys)\n` + formatTable(metadata) +
    `\ntensors (${file.tensors.size})${
      everyTensor ? "" : ", by type and by layer; --tensors lists all"
    }\n` +
    formatTable(tensors);
}

/** What a file is and takes: names and texts. */
export function summaryOf(
  { name, files, file, model, obstacle, notes, total, memory, speed }:
    Inspection,
): string[][] {
  const lines = [
    ["file", printable(name)],
    ...files > 1 ? [["files", `${files}`]] : [],
    ["size", `${file.size} bytes (${formatBytes(file.size)})`],
    [
      "format",
      `${file.magic} version ${file.version}, alignment ${file.alignment}`,
    ],
    [
      "weights",
      `${formatCount(total.parameters)} in ${formatBytes(total.bytes)}`,
    ],
    ["runs here", model ? "yes" : `no: ${printable(obstacle!)}`],
    ...notes.map((note) => ["note", printable(note)]),
  ];
  if (model && memory) {
    const predictor = model.layers.some((layer) => layer.fc1);
    lines.push(
      [
        "architecture",
        `${model.architecture}, ${model.activation}${
          predictor ? ", with predictors" : ""
        }`,
      ],
      [
        "sizes",
        `${model.layers.length} layers, hidden ${model.hiddenSize}, FFN ${
          ffnText(model)
        }, ` +
        `${model.headCount} heads of ${model.headSize}, ${model.kvHeadCount} KV heads, ` +
        `vocabulary ${model.vocabSize}, context ${model.contextSize}`,
      ],
      [
        "memory",
        `${
          formatBytes(memory.weights + memory.kvCache + memory.scratch)
        }: weights ${
          formatBytes(memory.weights)
        }, ${memory.cacheType} KV cache of ${memory.contextSize} positions ${
          formatBytes(memory.kvCache)
        }, scratch about ${formatBytes(memory.scratch)}`,
      ],
    );
  }
  if (speed !== undefined) lines.push(["speed", speed]);
  return lines;
}

function ffnText(model: NonNullable<Inspection["model"]>): string {
  const { feedForwardSize, expertCount, routing } = model;
  return routing
    ? expertsText(routing, expertCount, ` of ${feedForwardSize / expertCount}`)
    : `${feedForwardSize}`;
}

function groupRow({ name, tensors, bytes }: TensorGroup): (string | number)[] {
  return [
    `  ${printable(name)}`,
    tensors,
    "tensors",
    formatBytes(bytes).padStart(11),
  ];
}

/** As what weights are kept, by the CPU and by a GPU, and what that takes. */
function packingCells<T>(
  { cpu, gpu }: Packings,
  show: (bytes: number) => T,
): (string | T)[] {
  return [
    `kept as ${cpu.layout},`,
    show(cpu.bytes),
    `on a GPU as ${gpu.layout},`,
    show(gpu.bytes),
  ];
}

/** Runs of layers with as many tensors and bytes become one row, `blk.0 to blk.5, each`. */
function alikeLayers(groups: readonly TensorGroup[]): TensorGroup[] {
  const rows: { first: TensorGroup; last: TensorGroup }[] = [];
  for (const group of groups) {
    const row = rows.at(-1);
    const alike = row && row.last.tensors === group.tensors &&
      row.last.bytes === group.bytes;
    if (alike) row.last = group;
    else rows.push({ first: group, last: group });
  }
  return rows.map(({ first, last }) =>
    first === last
      ? first
      : { ...first, name: `${first.name} to ${last.name}, each` }
  );
}

function typeOf({ type, value }: MetadataEntry): string {
  return typeof value === "object"
    ? `${value.elementType}[${value.values.length}]`
    : type;
}

function show(value: MetadataValue): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  // A vocabulary is long, and its beginning says enough.
  const length = Math.min(longest, value.values.length);
  const shown = Array.from({ length }, (_, i) => show(value.values[i]))
    .join(", ");
  return `[${shown}]`;
}

function shorten(text: string): string {
  const characters = [...text];
  return characters.length <= longest
    ? text
    : `${characters.slice(0, longest - 1).join("")}…`;
}

/** The inspection as JSON, with every metadata value and every tensor. */
export function toJson(inspection: Inspection): string {
  const { name, files, file, model, obstacle, total, byType, byLayer, memory } =
    inspection;
  const content = {
    file: name,
    files,
    size: file.size,
    magic: file.magic,
    version: file.version,
    alignment: file.alignment,
    runs: model !== undefined,
    obstacle,
    parameters: total.parameters,
    bytes: total.bytes,
    model: model && {
      architecture: model.architecture,
      activation: model.activation,
      layers: model.layers.length,
      hiddenSize: model.hiddenSize,
      feedForwardSize: model.feedForwardSize,
      expertCount: model.expertCount,
      expertsPerToken: model.routing?.used,
      headCount: model.headCount,
      kvHeadCount: model.kvHeadCount,
      headSize: model.headSize,
      vocabSize: model.vocabSize,
      contextSize: model.contextSize,
      hasPredictor: model.layers.some((layer) => layer.fc1),
    },
    memory,
    speed: inspection.speed,
    byType,
    byLayer,
    metadata: Object.fromEntries(
      [...file.metadata].map((
        [key, { type, value }],
      ) => [key, { type, value: plain(value) }]),
    ),
    tensors: Array.from(
      file.tensors.values(),
      (tensor) => ({ ...tensor, ...packingsOf(tensor) }),
    ),
  };
  return JSON.stringify(content, undefined, 2) + "\n";
}

/** JSON has no 64-bit integers and no NaN: these become strings. */
function plain(value: MetadataValue): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) {
    return String(value);
  }
  return typeof value === "object" ? Array.from(value.values, plain) : value;
}
