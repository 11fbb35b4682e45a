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
 * Multiplies a unit of x by that of a row, and of three more where an invocation
 * has four: they are of one type. The type is chosen once for all
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
  let each = vec4u(row) + row_steps();
  var dots = vec4f();
  dots.x = dot_units(${unit}(row, unit), v);
  if (rows_each > 1u) {
    dots.y = dot_units(${unit}(each.y, unit), v);
    dots.z = dot_units(${unit}(each.z, unit), v);
    dots.w = dot_units(${unit}(each.w, unit), v);
  }
  return dots;
}`;
}

/**
 * Multiplies blocks of x by units of a row and of the others that an invocation
 * has, all of one type, and adds the products up: with one token, two
 * blocks and four rows, or four and one after another where rows are masked; with
 * several, their blocks and two rows. What is read behind the last block, at
 * `count`, is left out.
 */
export function dotIntegerRows(types: readonly PackedType[]): string {
  return integerTexts(types) + types.map(addRowsOf).join("\n") +
    byRow(types, "add_rows", "Sums", {
      sums: "Sums",
      unit: "u32",
      at: "u32",
      count: "u32",
      wanted: "vec2<bool>",
    });
}

function addRowsOf(type: PackedType): string {
  const integers = named("integers", type), halves = named("halves", type);
  const four = [0, 1, 2, 3];
  /** A constant for each of the units that `read` gives the row and the number of. */
  const units = (
    prefix: string,
    read: (i: number) => string,
    indent: string,
  ) =>
    four.map((i) => `let ${prefix}${i} = ${integers}(${read(i)});`)
      .join(`\n${indent}`);
  const dots = (prefix: string, block: string) =>
    `vec4f(${
      four.map((i) => `dot_block(${prefix}${i}, ${block}, ${halves})`)
        .join(", ")
    })`;
  return `
fn ${
    named("add_rows", type)
  }(row: u32, sums: Sums, unit: u32, at: u32, count: u32, wanted: vec2<bool>) -> Sums {
  let each = vec4u(row) + row_steps();
  var total = sums;
  if (columns > 1u) {
    if (wanted.x) {
      let one = ${integers}(row, unit);
      let two = ${integers}(each.y, unit);
      total.a += dot_tokens(one, at, ${halves});
      total.c += dot_tokens(two, at, ${halves});
      if (columns > 4u) {
        let others = at + 4u * (stretch_blocks / columns);
        total.b += dot_tokens(one, others, ${halves});
        total.d += dot_tokens(two, others, ${halves});
      }
    }
  } else if (mask == mask_all || paired) {
    if (wanted.x) {
      ${units("a", (i) => `each[${i}], unit`, "      ")}
      if (lane_units > 1u) {
        let next = select(0u, lanes, at + lanes < count);
        ${units("b", (i) => `each[${i}], unit + next`, "        ")}
        let block = block_at(at);
        let other = block_at(at + next);
        total.a += ${dots("a", "block")};
        total.a += select(vec4f(), ${dots("b", "other")}, next > 0u);
      } else {
        let block = block_at(at);
        total.a += ${dots("a", "block")};
      }
    }
  } else {
    if (wanted.x) { total.a.x = ${
    named("add_row", type)
  }(total.a.x, row, unit, at, count); }
    if (wanted.y) { total.a.y = ${
    named("add_row", type)
  }(total.a.y, row + 1u, unit, at, count); }
  }
  return total;
}

fn ${
    named("add_row", type)
  }(sum: f32, row: u32, unit: u32, at: u32, count: u32) -> f32 {
  let steps = lanes * vec4u(0u, 1u, 2u, 3u);
  // What lies behind the last block is the first once more, and counts nothing.
  let is_there = vec4u(at) + steps < vec4u(count);
  let by = select(vec4u(), steps, is_there);
  var total = sum;
  if (lane_units > 1u) {
    ${units("a", (i) => `row, unit + by[${i}]`, "    ")}
    ${
    four.map((i) =>
      `total += select(0.0, dot_block(a${i}, block_at(at + by[${i}]), ${halves}), is_there[${i}]);`
    ).join("\n    ")
  }
  } else {
    total += dot_block(${integers}(row, unit), block_at(at), ${halves});
  }
  return total;
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
