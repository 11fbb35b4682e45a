/**
 * How kernels read the rows of a matrix, by the type of its weights. Names in
 * each type's text end with the type, so that one kernel can read several.
 */
import {
  weights_f16 as f16,
  weights_f32 as f32,
  weights_i8h as i8h,
  weights_i8hm as i8hm,
  weights_iq4_nl as iq4_nl,
  weights_iq4_xs as iq4_xs,
  weights_mxfp4 as mxfp4,
  weights_q4_0 as q4_0,
  weights_q4_k as q4_k,
  weights_q6_k as q6_k,
  weights_q8_0 as q8_0,
} from "../../../../shaders/shaders.ts";

const texts = {
  F32: f32,
  F16: f16,
  Q8_0: q8_0,
  Q4_0: q4_0,
  Q4_K: q4_k,
  Q6_K: q6_k,
  IQ4_NL: iq4_nl,
  IQ4_XS: iq4_xs,
  MXFP4: mxfp4,
  I8H: i8h,
  I8HM: i8hm,
} as const;

/** Every layout that kernels read. */
export const packedTypes = Object.keys(texts) as readonly PackedType[];

/** Layouts that kernels read: those of the file's types, and two of integers that hold others. */
export type PackedType = keyof typeof texts;

/** Reads units (a lane's 32 weights of a group) of a matrix of one type: `unit_weights`. */
export function unitWeights(type: PackedType): string {
  return `${texts[type]}
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  return ${named("unit_weights", type)}(row, unit);
}`;
}

/** Reads quads of a matrix whose rows are of one type after another: `quad_weights`. */
export function quadWeights(types: readonly PackedType[]): string {
  return types.map((type) => texts[type]).join("\n") +
    byRow(types, "quad_weights", { group: "u32", lane: "u32", j: "u32" });
}

/**
 * Multiplies a unit of x by that of a row, and of the three behind it where an
 * invocation has four: they are of one type. The type is chosen once for all
 * four, so that their reads wait together.
 */
export function dotRows(types: readonly PackedType[]): string {
  return types.map((type) => texts[type] + dotRowsOf(type)).join("\n") +
    byRow(types, "dot_rows", { unit: "u32", v: "array<vec4f, 8>" });
}

function dotRowsOf(type: PackedType): string {
  const name = named("dot_rows", type), unit = named("unit_weights", type);
  return `
fn ${name}(row: u32, unit: u32, v: array<vec4f, 8>) -> vec4f {
  var dots = vec4f();
  dots.x = dot_units(${unit}(row, unit), v);
  if (rows_each > 1u) {
    dots.y = dot_units(${unit}(row + 1u, unit), v);
    dots.z = dot_units(${unit}(row + 2u, unit), v);
    dots.w = dot_units(${unit}(row + 3u, unit), v);
  }
  return dots;
}`;
}

/** The rows behind those of the first type, as a product's parameters name them. */
const behind = ["second", "third"] as const;

/** A function of a row and `more`, which is that of the row's type. */
function byRow(
  types: readonly PackedType[],
  name: string,
  more: Readonly<Record<string, string>>,
): string {
  const parameters = Object.entries({ row: "u32", ...more })
    .map(([name, type]) => `${name}: ${type}`);
  const call = (type: PackedType, row: string) =>
    `return ${named(name, type)}(${[row, ...Object.keys(more)].join(", ")});`;
  const [first, ...others] = types;
  // Rows behind those of all other types are recognised first.
  const cases = others.map((type, i) =>
    `  if (row >= params.${behind[i]}_row) {
    ${call(type, `row + params.${behind[i]}_shift`)}
  }`
  ).reverse();
  return `
fn ${name}(${parameters.join(", ")}) -> vec4f {
${cases.join("\n")}
  ${call(first, "row")}
}`;
}

function named(name: string, type: PackedType): string {
  return `${name}_${type.toLowerCase()}`;
}
