/** Weights that are infinite or NaN are refused while loading, by every kind of place. */
import assert from "node:assert/strict";
import { FormatError } from "../../src/errors.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";
import { startTeam } from "../../src/places/start.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { hasAdapter } from "../helpers/adapter.ts";
import { halvesOf } from "../helpers/block_halves.ts";
import { gpuTeam } from "../helpers/gpu_teams.ts";
import { type RandomModel, randomModel } from "../helpers/random_model.ts";
import { cpuTeam, limits, referenceTeam } from "../helpers/teams.ts";

const exact = { mode: "exact" } as const;

/** What makes a block of a type infinite or NaN: bytes, and where they are put. NVFP4 has nothing: its NaN is 0, as in ggml. */
function faultsOf(type: GgmlType): [at: number, bytes: number[]][] {
  switch (type) {
    case "F32":
      return [[0, [0, 0, 0x80, 0x7f]], [0, [1, 0, 0xc0, 0xff]]];
    case "BF16":
      return [[0, [0x80, 0xff]], [0, [0xc0, 0x7f]]];
    case "MXFP4":
      return [[0, [255]]];
    case "IQ1_M":
      // A quarter of the half in the upper bits of each of four words.
      return [[48, [0, 0, 0, 0, 0, 0xc0, 0, 0x70]]];
    default:
      return halvesOf[type].flatMap((at) => [
        [at, [0x00, 0x7c]],
        [at, [0x01, 0xfe]],
      ]);
  }
}

/** A model with a fault in the last block of row 5 of a tensor. */
function damaged(
  { model, bytes }: RandomModel,
  name: "ffn_up" | "attn_q",
  [at, fault]: [at: number, bytes: number[]],
): RandomModel {
  const tensor = model.layers[1][name]!;
  const { blockSize, blockBytes } = ggmlTypes[tensor.type];
  const copy = bytes.slice();
  const blocks = 6 * tensor.shape[0] / blockSize;
  copy.set(fault, tensor.offset + (blocks - 1) * blockBytes + at);
  return { model, bytes: copy, source: fromBuffer(copy, "damaged model") };
}

const loaders: Record<string, (made: RandomModel) => Promise<unknown>> = {
  reference: (made) => referenceTeam(made, splitEvenly(made.model, 1), exact),
  cpu: (made) => cpuTeam(made, splitEvenly(made.model, 1), exact),
  ...(hasAdapter ? { gpu: (made) => gpuTeam(made, exact) } : {}),
};

const refusal = (name: string) => (error: Error) => {
  assert(error instanceof FormatError, `${error}`);
  assert.equal(
    error.message,
    `Cannot read tensor blk.1.${name}.weight: row 5 has a weight, or a scale of weights, that is infinite or NaN`,
  );
  return true;
};

for (const type of Object.keys(ggmlTypes) as GgmlType[]) {
  if (type === "NVFP4") continue;
  Deno.test(`${type}: infinite and NaN weights are refused by tensor and row`, async () => {
    // Rows of whole groups of blocks where a block has 256 weights, else of half a group more.
    const hiddenSize = ggmlTypes[type].blockSize > 64 ? 256 : 320;
    const made = await randomModel({ type, hiddenSize });
    assert.equal(made.model.layers[1].ffn_up.type, type);
    const faults = faultsOf(type);
    assert(faults.length > 0);
    for (const [where, load] of Object.entries(loaders)) {
      for (const fault of faults) {
        for (const name of ["ffn_up", "attn_q"] as const) {
          await assert.rejects(
            load(damaged(made, name, fault)),
            refusal(name),
            `${where}, ${name}, ${fault}`,
          );
        }
      }
    }
  });
}

Deno.test("a worker's place refuses them too", async () => {
  const made = damaged(await randomModel({ type: "Q8_0" }), "ffn_up", [
    0,
    [0, 0x7c],
  ]);
  const options = {
    model: made.model,
    sparsity: exact,
    limits,
    cacheType: "f32",
    measureRecall: false,
  } as const;
  await assert.rejects(startTeam(made.source, 2, options), refusal("ffn_up"));
});
