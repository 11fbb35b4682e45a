/**
 * A tiny TurboSparse-Mixtral as its checkpoint names it: converted, in both
 * forms, and beside what a plain model in NumPy makes of the same weights.
 */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { convert, type ConvertOptions } from "../../src/convert/convert.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import goldens from "../goldens/turbo_sparse_mixtral.json" with {
  type: "json",
};
import { fixtureUrl } from "../helpers/fixtures.ts";
import { memoryFolder } from "../helpers/memory_folder.ts";
import { sentencePieceJson } from "./tokenizer_files.ts";

const files = ["config.json", "model.safetensors"];
const folder = memoryFolder({
  ...Object.fromEntries(
    files.map((name) => [
      name,
      Deno.readFileSync(fixtureUrl(`turbo-sparse-mixtral/${name}`)),
    ]),
  ),
  "tokenizer.json": sentencePieceJson(["a", "b", "ab"], [["a", "b"]]),
});

async function converted(options: ConvertOptions) {
  const file = await convert(folder, options);
  const bytes = await toBuffer(file.chunks());
  await file.close();
  return bytes;
}

async function logitsOf(
  bytes: Uint8Array<ArrayBuffer>,
  sparsity: Sparsity,
  threads: number,
): Promise<Float32Array[]> {
  await using model = await load(bytes, {
    threads,
    sparsity,
    cacheType: "f32",
  });
  using sequence = model.engine.createSequence();
  return await model.engine.evaluate(sequence, goldens.ids, "all");
}

function assertNear(
  actual: readonly Float32Array[],
  expected: readonly number[][],
  what: string,
): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((row, i) =>
    row.forEach((logit, id) =>
      assert(
        Math.abs(logit - expected[i][id]) < 1e-3,
        `${what}, position ${i}, id ${id}: ${logit}, not ${expected[i][id]}`,
      )
    )
  );
}

Deno.test("TurboSparse-Mixtral's folder becomes a file that says what a plain model says", async () => {
  const sparse = await converted({ type: "F16" });
  const { tensors } = await readGguf(fromBuffer(sparse));
  const shapeOf = (name: string) => tensors.get(`blk.0.${name}.weight`)?.shape;
  assert.deepEqual(shapeOf("ffn_down_t_exps"), [24, 40, 4]);
  assert.deepEqual(shapeOf("fc1_exps"), [24, 6, 4]);
  assert.deepEqual(shapeOf("fc2_exps"), [6, 40, 4]);
  assert.equal(shapeOf("ffn_down_exps"), undefined);
  const dense = await converted({ form: "llama", type: "F16" });
  const forms = { sparse, dense };
  for (const [form, bytes] of Object.entries(forms)) {
    for (const mode of ["exact", "dense"] as const) {
      assertNear(await logitsOf(bytes, { mode }, 0), goldens.all, form + mode);
    }
  }
  const predicted = { mode: "predictor" } as const;
  assertNear(await logitsOf(sparse, predicted, 0), goldens.predicted, "alone");
  assertNear(await logitsOf(sparse, predicted, 2), goldens.predicted, "two");
  await assert.rejects(logitsOf(dense, predicted, 0), /predictor/);
  // One form and the other, of the same bytes.
  const again = await convert(fromBuffer(dense), { form: "powerinfer" });
  const turned = await readGguf(fromBuffer(await toBuffer(again.chunks())));
  const name = "blk.1.ffn_down_t_exps.weight";
  const own = turned.tensors.get(name)!, there = tensors.get(name)!;
  assert.deepEqual([own.type, own.shape], [there.type, there.shape]);
});
