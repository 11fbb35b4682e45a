import assert from "node:assert/strict";
import {
  chooseType,
  type ConvertType,
} from "../../src/convert/choose_types.ts";

const choose = (
  name: string,
  wanted: ConvertType,
  shape: readonly number[] = [4096, 4096],
  context = { layerCount: 32, hasOutput: true },
) =>
  chooseType({ name: `${name}.weight`, type: "BF16", shape }, wanted, context);

Deno.test("Q4_K_M gives values and down of some layers, and the head, more bits", () => {
  // llama.cpp's use_more_bits for 32 layers.
  const richer = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31];
  for (let layer = 0; layer < 32; layer++) {
    const expected = richer.includes(layer) ? "Q6_K" : "Q4_K";
    for (const name of ["attn_v", "ffn_down", "ffn_down_t"]) {
      const type = choose(`blk.${layer}.${name}`, "Q4_K_M");
      assert.equal(type, expected, `${name} of layer ${layer}`);
    }
    for (const name of ["attn_q", "attn_output", "ffn_up", "fc1"]) {
      assert.equal(choose(`blk.${layer}.${name}`, "Q4_K_M"), "Q4_K");
    }
  }
  assert.equal(choose("blk.11.attn_qkv", "Q4_K_M"), "Q5_K");
  assert.equal(choose("blk.11.attn_qkv", "Q4_0"), "Q4_0");
  assert.equal(choose("output", "Q4_K_M"), "Q6_K");
  assert.equal(choose("token_embd", "Q4_K_M"), "Q4_K");
  const large = { layerCount: 80, hasOutput: true };
  const values = "blk.11.attn_v";
  assert.equal(choose(values, "Q4_K_M", undefined, large), "Q5_K");
});

Deno.test("the head of a quantised file is Q6_K but in Q8_0, the embedding where it is the head", () => {
  const tied = { layerCount: 6, hasOutput: false };
  assert.equal(choose("output", "Q4_0"), "Q6_K");
  assert.equal(choose("output", "Q8_0"), "Q8_0");
  assert.equal(choose("output", "F16"), "F16");
  assert.equal(choose("token_embd", "Q4_0"), "Q4_0");
  assert.equal(choose("token_embd", "Q4_0", undefined, tied), "Q6_K");
});

Deno.test("norms and vectors are F32; a row that no block divides gets a type that does", () => {
  assert.equal(choose("blk.3.attn_norm", "Q4_0", [4096]), "F32");
  assert.equal(choose("output_norm", "BF16", [4096, 1]), "F32");
  assert.equal(choose("rope_freqs", "F16", [64]), "F32");
  assert.equal(choose("blk.0.attn_q", "Q4_K_M", [288, 8]), "Q5_0");
  assert.equal(choose("output", "Q4_K_M", [288, 8]), "Q8_0");
  assert.equal(choose("blk.0.attn_q", "Q4_K_M", [100, 8]), "F16");
  assert.equal(choose("blk.0.attn_q", "Q4_0", [100, 8]), "F16");
  const other = { name: "blk.0.gpu_idx", type: "F32", shape: [8, 8] } as const;
  const context = { layerCount: 1, hasOutput: true };
  assert.equal(chooseType(other, "Q4_0", context), "F32");
});
