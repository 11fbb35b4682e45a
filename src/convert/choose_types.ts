import { type GgmlType, ggmlTypes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/gguf_file.ts";

/** The types that files can be converted to; Q4_K_M is a mixture of Q4_K and Q6_K. */
export const convertTypes = [
  "F32",
  "F16",
  "BF16",
  "Q8_0",
  "Q4_0",
  "Q4_K_M",
] as const;

/** One of {@linkcode convertTypes}. */
export type ConvertType = (typeof convertTypes)[number];

/** llama.cpp's number of each, `general.file_type`. */
export const fileTypes: Readonly<Record<ConvertType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q8_0: 7,
  Q4_K_M: 15,
  BF16: 32,
};

/** Whether a file of this type has blocks: their layout has a version among the metadata. */
export function isQuantised(type: ConvertType): boolean {
  return !["F32", "F16", "BF16"].includes(type);
}

/** Whether weights of a type share scales, and so lose of their value. */
export function hasBlocks(type: GgmlType): boolean {
  return ggmlTypes[type].blockSize > 1;
}

/** What the choice depends on beside the tensor. */
export interface TypeContext {
  /** Layers of the model. */
  readonly layerCount: number;
  /** Whether there is an output head; otherwise the embedding is it as well. */
  readonly hasOutput: boolean;
}

/**
 * The type of a tensor in a file of type `wanted`, as llama.cpp's `quantize`
 * chooses. Norms, routers and vectors are F32; other tensors that are no weights stay as
 * they are.
 */
export function chooseType(
  { name, type, shape }: Pick<TensorInfo, "name" | "type" | "shape">,
  wanted: ConvertType,
  context: TypeContext,
): GgmlType {
  const isVector = shape.slice(1).every((side) => side === 1);
  if (isVector || /(norm|ffn_gate_inp)\.weight$/.test(name)) return "F32";
  if (!name.endsWith(".weight")) return type;
  if (!isQuantised(wanted)) return wanted as GgmlType;
  return fitting(richer(name, wanted, context), shape[0]);
}

/** The type before a row's length is looked at: some tensors get more bits. */
function richer(
  name: string,
  wanted: ConvertType,
  { layerCount, hasOutput }: TypeContext,
): GgmlType {
  const base = wanted === "Q4_K_M" ? "Q4_K" : wanted as GgmlType;
  const isHead = name === "output.weight" ||
    (!hasOutput && name === "token_embd.weight");
  if (isHead) return base === "Q8_0" ? base : "Q6_K";
  if (wanted !== "Q4_K_M") return base;
  const [, layer, part] = name.match(/^blk\.(\d+)\.(\w+)/) ?? [];
  if (part === "attn_qkv") return "Q5_K";
  if (part !== "attn_v" && !part?.startsWith("ffn_down")) return base;
  if (hasMoreBits(Number(layer), layerCount)) return "Q6_K";
  // The largest Llama: its values are shared by eight heads, and so are small.
  return part === "attn_v" && layerCount === 80 ? "Q5_K" : base;
}

/** The first and the last eighth of the layers, and every third between. */
function hasMoreBits(layer: number, layerCount: number): boolean {
  const eighth = Math.floor(layerCount / 8);
  return layer < eighth || layer >= Math.floor(7 * layerCount / 8) ||
    (layer - eighth) % 3 === 2;
}

/** What takes the place of a type whose blocks do not divide the row. */
const instead: Readonly<Partial<Record<GgmlType, GgmlType>>> = {
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/** The type, or one of about as many bits whose blocks divide rows of so many columns. */
export function fitting(type: GgmlType, columns: number): GgmlType {
  const fits = (each: GgmlType) => columns % ggmlTypes[each].blockSize === 0;
  if (fits(type)) return type;
  const other = instead[type];
  return other && fits(other) ? other : "F16";
}
