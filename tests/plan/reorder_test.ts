import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { FormatError, UnsupportedError } from "../../src/errors.ts";
import { ggmlTypes, rowBytes } from "../../src/formats/ggml/types.ts";
import { readGguf, type TensorInfo } from "../../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { load } from "../../src/load/load.ts";
import type { LoadOptions } from "../../src/load/load_options.ts";
import { describeModel } from "../../src/model/model.ts";
import type { Profile } from "../../src/plan/profile.ts";
import { profileOf } from "../../src/plan/own_profile.ts";
import { fileOrder, reorderNeurons } from "../../src/plan/reorder.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { bambooFiles } from "../helpers/bamboo_files.ts";

/** Runs ids, then the likeliest tokens; gives all ids and the last logits. */
async function greedy(
  source: ByteSource | Uint8Array,
  options: LoadOptions,
  count = 24,
): Promise<{ ids: number[]; logits: Float32Array; profile: Profile }> {
  // A key in f16 may be rounded to either neighbour, which is more than a sum's rounding.
  const whole = { countNeurons: true, cacheType: "f32" } as const;
  await using model = await load(source, { ...whole, ...options });
  using sequence = model.engine.createSequence();
  const ids = [1, 5, 9, 2];
  let [logits] = await model.engine.evaluate(sequence, ids);
  for (let i = 0; i < count; i++) {
    ids.push(logits.indexOf(Math.max(...logits)));
    [logits] = await model.engine.evaluate(sequence, ids.slice(-1));
  }
  return { ids, logits, profile: model.engine.profile() };
}

async function reordered(
  source: ByteSource,
  profile: Profile,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = await readGguf(source);
  const model = describeModel(file);
  return await toBuffer(reorderNeurons(source, file, model, profile));
}

/** Sums of these depend on the order of their terms by rounding alone. */
const floats: RandomModelOptions[] = [
  { type: "F32" },
  { type: "F16", feedForwardSize: 100, predictorRank: 7 },
  { type: "BF16", feedForwardSize: 200, layerCount: 3 },
  { architecture: "llama", magic: "PWRI", downByNeuron: true, tied: true },
  { architecture: "llama", magic: "PWRI", biases: true, feedForwardSize: 70 },
  { architecture: "arcee", downByNeuron: true },
  { architecture: "bitnet", keys: { activation: "relu2" } },
  { architecture: "gpt-oss", expertCount: 4, feedForwardSize: 70 },
  {
    architecture: "turbosparsemixtral",
    type: "F16",
    expertCount: 3,
    feedForwardSize: 100,
    predictorRank: 7,
    downByNeuron: true,
  },
];

const cases: RandomModelOptions[] = [
  ...floats,
  { type: "Q4_0", downByNeuron: true, predictorRank: 64 },
  { type: "Q8_0", downByNeuron: true, feedForwardSize: 301, magic: "PWRI" },
];

Deno.test("a reordered file gives what the file gave, with its own profile", async (t) => {
  for (const options of floats) {
    await t.step(JSON.stringify(options), async () => {
      const { source, bytes } = await randomModel(options);
      const { profile } = await greedy(source, { threads: 1 });
      const made = await reordered(source, profile);
      assert.notDeepEqual(made, bytes);
      for (const threads of [0, 2]) {
        const before = await greedy(bytes, { threads });
        const after = await greedy(fromBuffer(made), { threads });
        assert.deepEqual(after.ids, before.ids);
        after.logits.forEach((value, i) =>
          assert(Math.abs(value - before.logits[i]) < 1e-4)
        );
        // What the new file says of itself is what it does.
        const file = await readGguf(fromBuffer(made));
        assert.deepEqual(profileOf(file, describeModel(file)), after.profile);
      }
    });
  }
});

Deno.test("a reordered quantised file gives what the file gave, as near as 8-bit activations are", async () => {
  for (const type of ["Q4_0", "Q8_0"] as const) {
    const { source, bytes } = await randomModel({ type, downByNeuron: true });
    const { profile } = await greedy(source, { threads: 1 });
    const made = await reordered(source, profile);
    // Rows are added up in dozens whose coefficients share a scale: which
    // rows come together shows.
    const before = await greedy(bytes, { threads: 2 }, 0);
    const after = await greedy(made, { threads: 2 }, 0);
    const size = Math.max(...before.logits.map(Math.abs));
    after.logits.forEach((value, i) =>
      assert(Math.abs(value - before.logits[i]) < 0.02 * size)
    );
  }
});

/** The rows of a tensor, or its columns, as texts, sorted. */
async function linesOf(
  source: ByteSource,
  { type, shape, offset, byteLength }: TensorInfo,
  columns: boolean,
): Promise<string[]> {
  const bytes = await source.read(offset, byteLength);
  const stride = rowBytes(type, shape[0]);
  const lines = Array.from(
    { length: byteLength / stride },
    (_, i) => [...bytes.subarray(i * stride, (i + 1) * stride)],
  );
  const size = ggmlTypes[type].blockBytes;
  const given = columns
    ? Array.from(
      { length: shape[0] },
      (_, j) => lines.map((row) => row.slice(j * size, (j + 1) * size)),
    )
    : lines;
  return given.map(String).sort();
}

/** A tensor, or those of each expert that make it up. */
function withoutExperts(tensor: TensorInfo): TensorInfo[] {
  const { name, shape, offset, byteLength } = tensor;
  if (!name.includes("_exps")) return [tensor];
  const count = shape.at(-1)!, bytes = byteLength / count;
  return Array.from({ length: count }, (_, expert) => ({
    ...tensor,
    shape: shape.slice(0, -1),
    offset: offset + expert * bytes,
    byteLength: bytes,
  }));
}

Deno.test("weights are moved, never changed", async () => {
  for (const options of cases) {
    const { source } = await randomModel(options);
    const { profile } = await greedy(source, { threads: 0 });
    const made = fromBuffer(await reordered(source, profile));
    const before = await readGguf(source), after = await readGguf(made);
    assert.deepEqual([...after.tensors.keys()], [...before.tensors.keys()]);
    for (const [name, tensor] of before.tensors) {
      const columns =
        /ffn_(down|sub_norm)(_exps)?\.weight$|ffn_(gate|up)(_exps)?\.bias$/
          .test(name);
      const moved = withoutExperts(after.tensors.get(name)!);
      for (const [expert, part] of withoutExperts(tensor).entries()) {
        assert.deepEqual(
          await linesOf(made, moved[expert], columns),
          await linesOf(source, part, columns),
          name,
        );
      }
    }
    for (const [key, entry] of before.metadata) {
      assert.deepEqual(after.metadata.get(key), entry);
    }
  }
});

Deno.test("every even cut of a reordered file has its share of hot neurons", () => {
  const neurons = 14336;
  const active = Uint32Array.from(
    { length: neurons },
    (_, i) => Math.round(1e6 * ((i * 7919 % neurons) / neurons) ** 4),
  );
  const order = fileOrder(
    { tokens: 1e6, layers: [{ gatePositive: active, active }] },
    0,
  );
  assert.equal(new Set(order).size, neurons);
  const sum = (ids: Uint32Array) =>
    ids.reduce((total, id) => total + active[id], 0);
  const total = sum(order);
  for (const parts of [2, 3, 4, 7, 8, 16]) {
    const border = (part: number) => Math.round(part * neurons / parts);
    for (let part = 0; part < parts; part++) {
      const share = sum(order.slice(border(part), border(part + 1))) / total;
      // Less than one of the 64 stretches; nothing where borders fall between them.
      assert(Math.abs(share - 1 / parts) < (64 % parts ? 1 / 64 : 1e-3));
    }
  }
});

Deno.test("what cannot be reordered exactly, or does not fit, is refused", async () => {
  const { source } = await randomModel({ type: "Q8_0" });
  const { profile } = await greedy(source, { threads: 0 });
  await assert.rejects(reordered(source, profile), (error) => {
    assert(error instanceof UnsupportedError);
    assert.match(
      error.message,
      /^Cannot reorder tensor blk\.0\.ffn_down\.weight: Q8_0 keeps 32 neurons/,
    );
    return true;
  });
  const other = await randomModel({ feedForwardSize: 64 });
  await assert.rejects(reordered(other.source, profile), FormatError);

  const fitting = await randomModel();
  const counted = await greedy(fitting.source, { threads: 0 });
  const made = await reordered(fitting.source, counted.profile);
  const file = await readGguf(fromBuffer(made));
  for (const value of [[1, 2], Array(192).fill(1e6)]) {
    const metadata = new Map(file.metadata).set("culm.profile.active", {
      type: "array",
      value: { elementType: "uint32", values: value },
    });
    const bytes = await toBuffer(writeGguf({ metadata, tensors: [] }));
    const damaged = await readGguf(fromBuffer(bytes));
    assert.throws(
      () => profileOf(damaged, fitting.model),
      /^FormatError: Cannot read metadata culm\.profile\.active: needs 192 counts of at most 28 tokens/,
    );
  }
  await using off = await load(made, { threads: 0, profile: false });
  assert.equal(off.profile, undefined);
});

Deno.test("a file that has gate and up in one tensor is not reordered", async () => {
  const { source } = await randomModel({
    architecture: "phi3",
    fused: true,
    keys: { activation: "relu" },
  });
  const { profile } = await greedy(source, { threads: 0 }, 2);
  await assert.rejects(
    reordered(source, profile),
    (error) =>
      error instanceof UnsupportedError &&
      /blk\.0\.ffn_gate\.weight: the file has it in one with others/
        .test(error.message),
  );
});

for (const file of bambooFiles) {
  Deno.test(`${file.name} reordered says the same tokens, whatever the threads`, async () => {
    const source = await file.open();
    try {
      const before = await greedy(source, { threads: 2 }, 60);
      const made = await reordered(source, before.profile);
      const options: LoadOptions[] = [
        { threads: 1 },
        { threads: 2 },
        { threads: 3 },
        { threads: 1, hotShare: 0 },
        { threads: 2, hotShare: 1 },
      ];
      for (const each of options) {
        const { ids } = await greedy(made, each, 60);
        assert.deepEqual(ids, before.ids, JSON.stringify(each));
      }
    } finally {
      await source.close();
    }
  });
}
