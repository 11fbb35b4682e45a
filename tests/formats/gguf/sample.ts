import { quantise } from "../../../src/formats/ggml/quantise.ts";
import type { GgmlType } from "../../../src/formats/ggml/types.ts";
import type { MetadataEntry } from "../../../src/formats/gguf/read.ts";
import {
  type GgufToWrite,
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../../../src/formats/gguf/write.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";

/** Metadata with every type of value, and a vocabulary. */
export const sampleMetadata: [string, MetadataEntry][] = [
  ["general.architecture", { type: "string", value: "bamboo" }],
  ["bamboo.block_count", { type: "uint32", value: 2 }],
  ["bamboo.rope.freq_base", { type: "float32", value: 10000 }],
  ["sample.uint8", { type: "uint8", value: 255 }],
  ["sample.int8", { type: "int8", value: -128 }],
  ["sample.uint16", { type: "uint16", value: 65535 }],
  ["sample.int16", { type: "int16", value: -32768 }],
  ["sample.int32", { type: "int32", value: -(2 ** 31) }],
  ["sample.bool", { type: "bool", value: true }],
  ["sample.uint64", { type: "uint64", value: 2n ** 64n - 1n }],
  ["sample.int64", { type: "int64", value: -(2 ** 40) }],
  ["sample.float64", { type: "float64", value: Math.PI }],
  ["sample.nested", {
    type: "array",
    value: {
      elementType: "array",
      values: [
        { elementType: "uint16", values: [1, 2, 3] },
        { elementType: "string", values: [] },
      ],
    },
  }],
  ["tokenizer.ggml.tokens", {
    type: "array",
    value: {
      elementType: "string",
      values: Array.from({ length: 120 }, (_, id) => `▁piece${id}`),
    },
  }],
  ["tokenizer.ggml.scores", {
    type: "array",
    value: {
      elementType: "float32",
      values: Array.from({ length: 120 }, (_, id) => -id),
    },
  }],
  ["tokenizer.ggml.token_type", {
    type: "array",
    value: { elementType: "int32", values: new Array(120).fill(1) },
  }],
];

function sampleTensor(
  name: string,
  type: GgmlType,
  shape: number[],
  seed: number,
): TensorToWrite {
  const size = shape.reduce((product, size) => product * size, 1);
  return {
    name,
    type,
    shape,
    data: quantise(type, gaussianVector(size, seed)),
  };
}

/** A few small tensors of several types and ranks. */
export const sampleTensors: TensorToWrite[] = [
  sampleTensor("token_embd.weight", "F16", [32, 5], 1),
  sampleTensor("blk.0.attn_norm.weight", "F32", [33], 2),
  sampleTensor("blk.0.ffn_up.weight", "Q4_0", [64, 3], 3),
  sampleTensor("blk.0.ffn_down.weight", "Q6_K", [256, 1, 2], 4),
  sampleTensor("blk.1.ffn_up.weight", "Q8_0", [32, 2, 1, 2], 5),
];

/** A small file, much like a model's. */
export function sampleFile(
  changes: Partial<GgufToWrite> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return toBuffer(writeGguf({
    metadata: sampleMetadata,
    tensors: sampleTensors,
    ...changes,
  }));
}
