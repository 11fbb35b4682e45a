/**
 * How kernels read the rows of a matrix, by the type of its weights: floats, or
 * integers with scales. Names in each type's text end with the type, so that one
 * kernel can read several of a kind.
 */
import {
  floats as floats_wgsl,
  integers as integers_wgsl,
  iq4_table,
  weights_f16 as f16,
  weights_f32 as f32,
  weights_i8h as i8h,
  weights_i8hm as i8hm,
  weights_iq4_nl as iq4_nl,
  weights_iq4_xs as iq4_xs,
  weights_mxfp4 as mxfp4,
  weights_q4_0 as q4_0,
  weights_q4_1 as q4_1,
  weights_q4_k as q4_k,
  weights_q6_k as q6_k,
  weights_q8_0 as q8_0,
} from "../../../../shaders/shaders.ts";

/** They have `unit_weights` and `quad_weights`. */
const floats = { F32: f32, F16: f16 } as const;

/** They have `integers`, and say in `halves` whether halves of a unit have scales of their own. */
const integers = {
  Q8_0: q8_0,
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q4_K: q4_k,
  Q6_K: q6_k,
  IQ4_NL: iq4_nl,
  IQ4_XS: iq4_xs,
  MXFP4: mxfp4,
  I8H: i8h,
  I8HM: i8hm,
} as const;

export type FloatType = keyof typeof floats;

/** Layouts of integers: those of the file's types, and two that hold others. */
export type IntegerType = keyof typeof integers;

/** Layouts that kernels read. */
export type PackedType = FloatType | IntegerType;

export const floatTypes = Object.keys(floats) as readonly FloatType[];
export const integerTypes = Object.keys(integers) as readonly IntegerType[];

/** Every layout that kernels read. */
export const packedTypes: readonly PackedType[] = [
  ...floatTypes,
  ...integerTypes,
];

/** Whether all are of integers; floats and integers share no kernel. */
export function areIntegers(
  types: readonly PackedType[],
): types is readonly IntegerType[] {
  return types.every((type) => type in integers);
}

/** Reads the weights of units of a matrix of one type: `unit_weights`; quad j of a unit is x's quad `quad_at`. */
export function unitWeights(type: PackedType): string {
  const reads = areIntegers([type])
    ? `${integerTexts([type])}
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  return weights_of(${named("integers", type)}(row, unit));
}`
    : `${floatTexts([type])}
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  return ${named("unit_weights", type)}(row, unit);
}`;
  return reads;
}

/** Reads quads of a matrix of floats whose rows are of one type after another: `quad_weights`. */
export function quadWeights(types: readonly PackedType[]): string {
  return floatTexts(types) +
    byRow(types, "quad_weights", "vec4f", {
      group: "u32",
      lane: "u32",
      j: "u32",
    });
}

/** Reads units of a matrix of integers whose rows are of one type after another: `integers`. */
export function integerUnits(types: readonly PackedType[]): string {
  return integerTexts(types) +
    byRow(types, "integers", "Integers", { unit: "u32" });
}

/**
 * Multiplies a unit of x by that of a row, and of the three behind it where an
 * invocation has four: they are of one type. The type is chosen once for all
 * four, so that their reads wait together.
 */
export function dotFloatRows(types: readonly PackedType[]): string {
  return floatTexts(types) + types.map(dotFloatRowsOf).join("\n") +
    byRow(types, "dot_rows", "vec4f", { unit: "u32", v: "array<vec4f, 8>" });
}

function dotFloatRowsOf(type: PackedType): string {
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

/**
 * Multiplies the blocks of x at `at` by the units of a row and of those behind it
 * that an invocation has, all of one type: four, or two where rows are masked,
 * with one token; two with several.
 */
export function dotIntegerRows(types: readonly PackedType[]): string {
  return integerTexts(types) + types.map(dotIntegerRowsOf).join("\n") +
    byRow(types, "dot_rows", "Dots", {
      unit: "u32",
      at: "u32",
      wanted: "vec4<bool>",
    });
}

function dotIntegerRowsOf(type: PackedType): string {
  const name = named("dot_rows", type);
  const halves = named("halves", type);
  const integers = (n: number) =>
    `${named("integers", type)}(row + ${n}u, unit)`;
  const units = ["one", "two", "three", "four"];
  const masked = [..."xyzw"].map((lane, n) =>
    `if (rows_each > ${n}u && wanted.${lane}) { dots.a.${lane} = dot_block(${
      integers(n)
    }, block, ${halves}); }`
  );
  return `
fn ${name}(row: u32, unit: u32, at: u32, wanted: vec4<bool>) -> Dots {
  var dots = Dots();
  if (columns == 1u) {
    let block = block_at(at);
    if (mask != mask_all) {
      ${masked.join("\n      ")}
    } else if (wanted.x) {
      ${
    units.map((name, n) => `let ${name} = ${integers(n)};`).join("\n      ")
  }
      dots.a = vec4f(${
    units.map((name) => `dot_block(${name}, block, ${halves})`).join(", ")
  });
    }
  } else if (wanted.x) {
    let one = ${integers(0)};
    let two = ${integers(1)};
    dots.a = dot_tokens(one, 0u, at, ${halves});
    dots.c = dot_tokens(two, 0u, at, ${halves});
    if (columns > 4u) {
      dots.b = dot_tokens(one, 4u, at, ${halves});
      dots.d = dot_tokens(two, 4u, at, ${halves});
    }
  }
  return dots;
}`;
}

function floatTexts(types: readonly PackedType[]): string {
  return [floats_wgsl, ...types.map((type) => floats[type as FloatType])]
    .join("\n");
}

function integerTexts(types: readonly PackedType[]): string {
  const hasTable = types.some((type) => type.startsWith("IQ4"));
  return [
    integers_wgsl,
    ...hasTable ? [iq4_table] : [],
    ...types.map((type) => integers[type as IntegerType]),
  ].join("\n");
}

/** The rows behind those of the first type, as a product's parameters name them. */
const behind = ["second", "third"] as const;

/** A function of a row and `more`, which is that of the row's type. */
function byRow(
  types: readonly PackedType[],
  name: string,
  result: string,
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
fn ${name}(${parameters.join(", ")}) -> ${result} {
${cases.join("\n")}
  ${call(first, "row")}
}`;
}

function named(name: string, type: PackedType): string {
  return `${name}_${type.toLowerCase()}`;
}
