/** What follows from the tables of kernels: WGSL that compiles, parameters by name. */
import assert from "node:assert/strict";
import { GpuError } from "../../../src/errors.ts";
import { cacheTypes } from "../../../src/places/cache_type.ts";
import { Device } from "../../../src/places/gpu/device/device.ts";
import {
  addBias,
  addPartials,
  embed,
} from "../../../src/places/gpu/kernels/residual.ts";
import { chooseExperts } from "../../../src/places/gpu/kernels/experts.ts";
import {
  attention,
  attentionMerge,
  ropeStore,
} from "../../../src/places/gpu/kernels/attention.ts";
import {
  downRows,
  downRowsVec,
  keepAbove,
} from "../../../src/places/gpu/kernels/neurons.ts";
import { norm } from "../../../src/places/gpu/kernels/norms.ts";
import {
  bindingNames,
  type Kernel,
  packParams,
  wgslOf,
} from "../../../src/places/gpu/kernels/kernel.ts";
import {
  mulMat,
  mulMatQ,
  mulMatVec,
  mulMatVecQ,
} from "../../../src/places/gpu/kernels/products.ts";
import { topLogits } from "../../../src/places/gpu/kernels/top_logits.ts";
import {
  floatTypes,
  integerTypes,
  packedTypes,
} from "../../../src/places/gpu/kernels/weights.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";

/** Each type alone, and before one and two others. */
function mixed<T>(types: readonly T[]): T[][] {
  const at = (i: number) => types[i % types.length];
  return types.flatMap((type, i) => [
    [type],
    [type, at(i + 1)],
    ...types.length > 2 ? [[type, at(i + 1), at(i + 2)]] : [],
  ]);
}

const kernels: Kernel[] = [
  addBias,
  addPartials,
  attentionMerge,
  chooseExperts,
  keepAbove,
  norm,
  topLogits,
  ...cacheTypes.flatMap((type) => [attention(type), ropeStore(type)]),
  ...packedTypes.flatMap((
    type,
  ) => [downRows(type), downRowsVec(type), embed(type)]),
  ...mixed(floatTypes).flatMap((types) => [
    mulMat(types),
    mulMatVec(types, false),
  ]),
  ...mixed(integerTypes).flatMap((types) => [
    mulMatQ(types),
    mulMatVecQ(types, false),
  ]),
];

testWithAdapter("every kernel compiles, for all its types", async () => {
  const device = await Device.open();
  for (const kernel of kernels) {
    await device.accepts(`compile ${kernel.name}`, () => {
      device.pipelines.get(kernel);
    });
  }
  device.destroy();
});

Deno.test("kernels of one name have one text", () => {
  const texts = new Map<string, string>();
  for (const kernel of kernels) {
    const text = wgslOf(kernel);
    assert.equal(texts.get(kernel.name) ?? text, text, kernel.name);
    texts.set(kernel.name, text);
  }
});

const kernel = {
  name: "example",
  limits: { size: 8 },
  bindings: { a: "read f32", b: "read vec4f" },
  body: ["fn main() {}"],
  params: { size: "u32", scale: "f32", mode: "u32" },
  overrides: { fast: true, rows: 4 },
  constants: { chunk: 7 },
} satisfies Kernel;

Deno.test("WGSL declares what a kernel's tables name", () => {
  const text = wgslOf(kernel);
  for (
    const line of [
      "@group(0) @binding(0) var<storage, read> step: array<u32>;",
      "@group(0) @binding(1) var<uniform> params: Params;",
      "@group(0) @binding(2) var<storage, read> a: array<f32>;",
      "@group(0) @binding(3) var<storage, read> b: array<vec4f>;",
      "struct Params {\n  size: u32,\n  scale: f32,\n  mode: u32,\n}",
      "override fast: bool = true;",
      "override rows: u32 = 4u;",
      "const chunk = 7u;",
      "const record_position = 1u;",
    ]
  ) assert(text.includes(`${line}\n`), line);
  assert.deepEqual(bindingNames(kernel), ["step", "params", "a", "b"]);
});

Deno.test("parameters are packed by name, in any order", () => {
  const words = packParams(kernel, { mode: 3, scale: 0.5, size: 8 });
  assert.deepEqual([...words], [8, 0x3f000000, 3, 0]);
});

Deno.test("a parameter above a kernel's limit is refused, with both numbers", () => {
  assert.throws(
    () => packParams(kernel, { size: 9, scale: 1, mode: 0 }),
    (error) =>
      error instanceof GpuError &&
      error.message === "Cannot run example: size is 9, the limit is 8",
  );
  assert.equal(attention("f16").limits.head_size, 1024);
});
