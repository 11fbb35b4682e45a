/** Which rows and columns of which tensors a place needs for its parts. */
import { ggmlTypes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import {
  compact,
  type IndexSet,
  isList,
  lengthOf,
  noIndices,
  type Range,
} from "../model/index_set.ts";
import {
  everyExpert,
  ofEachExpert,
  ofExperts,
  withinExpert,
} from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import {
  type Dimension,
  type LayerTensorName,
  mapTensors,
  tensorSchemas,
} from "../model/schema.ts";
import type { PlaceShards } from "../model/shard.ts";
import {
  expertsOf,
  kvHeadsOf,
  loadedNeurons,
  type Part,
  type PlacePlan,
} from "./plan.ts";

/**
 * Columns are cut where quantised activations have their blocks, so a range of
 * them is widened to multiples of this; what is not the place's own is
 * multiplied by zero.
 */
const columnUnit = 32;

/** What a place must load to hold its part of a plan. */
export function shardsOf(model: Model, plan: PlacePlan): PlaceShards {
  const { headSize, ropeSize } = model;
  const outer: HeldSides = { vocab: plan.vocab };
  const sides = plan.parts.map((part) => heldSides(model, part));
  const inputs = plan.parts.map(({ inputs }) =>
    inputs && heldSides(model, inputs)
  );
  return mapTensors(model, (tensor, name, layer) => {
    const { shape: [columnSide, rowSide], rotated, whole, perExpert } =
      tensorSchemas[name];
    const isLoaded = layer !== undefined &&
      plan.parts[layer].resident?.matrices
        .includes(name as LayerTensorName);
    const isHalf = rotated && model.rope === "half";
    const own = whole ? {} : layer === undefined ? outer : sides[layer];
    const makesOutputs = rowSide === "hidden" || rowSide === "outputs";
    const all = layer !== undefined && makesOutputs && inputs[layer];
    const columns = columnsOf(
      tensor,
      rowSide === undefined,
      (all || own)[columnSide],
    );
    const rows = all
      ? lengthOf(columns) > 0 ? outputsOf(model, plan, rowSide) : noIndices
      : rowSide && own[rowSide];
    const held = rows ?? { start: 0, end: tensor.shape[1] ?? 1 };
    const part = perExpert && rowSide && layer !== undefined
      ? plan.parts[layer]
      : undefined;
    return {
      tensor,
      rows: isLoaded
        ? loadedNeurons(plan.parts[layer])
        : part
        ? rowsOfExperts(model, part, rowSide, held)
        : held,
      columns,
      ...(isHalf ? { halves: { headSize, ropeSize } } : {}),
    };
  });
}

/** Rows of the experts that a part has, or of those in memory; `rows` of neurons are of the former already. */
function rowsOfExperts(
  model: Model,
  part: Part,
  rowSide: Dimension | undefined,
  rows: IndexSet,
): IndexSet {
  const own = expertsOf(model, part);
  const held = rowSide === "ffn" ? own : everyExpert(model);
  return ofExperts(rows, held, part.experts?.loaded ?? own);
}

/** The rows of the outputs that a place computes, of each expert where there are some. */
function outputsOf(
  { expertCount, hiddenSize }: Model,
  { outputs }: PlacePlan,
  side: Dimension,
): IndexSet | undefined {
  return outputs && side === "outputs"
    ? ofEachExpert(expertCount, hiddenSize, outputs)
    : outputs;
}

/** Which elements a place holds of the sides that are cut; whole ones are left out. */
type HeldSides = { readonly [D in Dimension]?: IndexSet };

function heldSides(
  model: Model,
  { heads, neurons }: Pick<Part, "heads" | "neurons">,
): HeldSides {
  const elements = ({ start, end }: Range): Range => ({
    start: start * model.headSize,
    end: end * model.headSize,
  });
  const q = elements(heads), kv = elements(kvHeadsOf(model, heads));
  const normed = model.qkNorm === "whole" ? { qNorm: q, kNorm: kv } : {};
  const expert = withinExpert(model, neurons);
  return { heads, q, kv, ...normed, ffn: neurons, expert };
}

/** The columns of a tensor that hold some elements of its side. */
function columnsOf(
  { type, shape: [count] }: TensorInfo,
  isVector: boolean,
  held: IndexSet = { start: 0, end: count },
): IndexSet {
  if (!isList(held)) return isVector ? held : widened(held, count);
  const { blockSize } = ggmlTypes[type];
  const blocks = [...new Set(held.map((id) => Math.floor(id / blockSize)))];
  return compact(Uint32Array.from(
    { length: blocks.length * blockSize },
    (_, i) => blocks[Math.floor(i / blockSize)] * blockSize + i % blockSize,
  ));
}

function widened(range: Range, limit: number): Range {
  if (range.start === range.end) return noIndices;
  return {
    start: Math.floor(range.start / columnUnit) * columnUnit,
    end: Math.min(limit, Math.ceil(range.end / columnUnit) * columnUnit),
  };
}
