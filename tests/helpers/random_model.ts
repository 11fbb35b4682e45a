/**
 * Small random models as GGUF files in memory, of any architecture, type and
 * shape, for tests that compare places.
 *
 * @module
 */
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";
import { type MetadataEntry, readGguf } from "../../src/formats/gguf/read.ts";
import {
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../../src/formats/gguf/write.ts";
import { describeModel, type Model } from "../../src/model/model.ts";
import { seededGaussian } from "./seeded_random.ts";

/** What to make. Sizes count elements. */
export interface RandomModelOptions {
  architecture?: "bamboo" | "llama";
  magic?: "GGUF" | "PWRI";
  /** Type of the matrices; rows that its blocks do not divide become F32. */
  type?: GgmlType;
  hiddenSize?: number;
  feedForwardSize?: number;
  headCount?: number;
  kvHeadCount?: number;
  headSize?: number;
  vocabSize?: number;
  layerCount?: number;
  /** `ffn_down_t` in place of `ffn_down` */
  downByNeuron?: boolean;
  /** Rank of the predictor in the first layer; one less in each that follows */
  predictorRank?: number;
  /** Whether it is one as culm makes them */
  linearPredictor?: boolean;
  tied?: boolean;
  slidingWindow?: number;
  ropeFactors?: boolean;
  ropeScale?: number;
  seed?: number;
}

/** A file in memory, and what it says. */
export interface RandomModel {
  readonly source: ByteSource;
  readonly model: Model;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Makes a model whose logits are of the order of 1. */
export async function randomModel(
  options: RandomModelOptions = {},
): Promise<RandomModel> {
  const o = {
    architecture: "bamboo" as const,
    magic: "GGUF" as const,
    type: "F32" as const,
    hiddenSize: 64,
    feedForwardSize: 96,
    headCount: 4,
    kvHeadCount: 2,
    vocabSize: 96,
    layerCount: 2,
    seed: 1,
    ...options,
  };
  const headSize = o.headSize ?? o.hiddenSize / o.headCount;
  const random = seededGaussian(o.seed);
  const tensors: TensorToWrite[] = [];
  const add = (name: string, shape: number[], scale: number, mean = 0) => {
    const length = shape.reduce((product, side) => product * side, 1);
    const values = Float32Array.from(
      { length },
      () => mean + scale * random(),
    );
    const fits = shape.length > 1 &&
      shape[0] % ggmlTypes[o.type].blockSize === 0;
    const type = fits ? o.type : "F32";
    tensors.push({ name, type, shape, data: quantise(type, values) });
  };
  const { hiddenSize, feedForwardSize, vocabSize } = o;
  const qSize = o.headCount * headSize, kvSize = o.kvHeadCount * headSize;
  const unit = 1 / Math.sqrt(hiddenSize);

  add("token_embd.weight", [hiddenSize, vocabSize], 1);
  for (let i = 0; i < o.layerCount; i++) {
    const name = (tensor: string) => `blk.${i}.${tensor}.weight`;
    add(name("attn_norm"), [hiddenSize], 0.1, 1);
    add(name("attn_q"), [hiddenSize, qSize], 1.5 * unit);
    add(name("attn_k"), [hiddenSize, kvSize], 1.5 * unit);
    add(name("attn_v"), [hiddenSize, kvSize], unit);
    add(name("attn_output"), [qSize, hiddenSize], 1 / Math.sqrt(qSize));
    add(name("ffn_norm"), [hiddenSize], 0.1, 1);
    add(name("ffn_gate"), [hiddenSize, feedForwardSize], unit, -0.3 * unit);
    add(name("ffn_up"), [hiddenSize, feedForwardSize], unit);
    const down = 1 / Math.sqrt(feedForwardSize);
    if (o.downByNeuron) {
      add(name("ffn_down_t"), [hiddenSize, feedForwardSize], down);
    } else {
      add(name("ffn_down"), [feedForwardSize, hiddenSize], down);
    }
    if (o.predictorRank) {
      const rank = o.predictorRank - (o.type === "F32" ? i : 0);
      add(name("fc1"), [hiddenSize, rank], unit);
      add(name("fc2"), [rank, feedForwardSize], 1 / Math.sqrt(rank));
    }
  }
  add("output_norm.weight", [hiddenSize], 0.1, 1);
  if (!o.tied) add("output.weight", [hiddenSize, vocabSize], unit);

  const metadata = new Map<string, MetadataEntry>([
    ["general.architecture", { type: "string", value: o.architecture }],
  ]);
  const key = (name: string, type: "uint32" | "float32", value: number) =>
    metadata.set(`${o.architecture}.${name}`, { type, value });
  key("embedding_length", "uint32", hiddenSize);
  key("feed_forward_length", "uint32", feedForwardSize);
  key("block_count", "uint32", o.layerCount);
  key("attention.head_count", "uint32", o.headCount);
  key("attention.head_count_kv", "uint32", o.kvHeadCount);
  key("attention.key_length", "uint32", headSize);
  key("attention.value_length", "uint32", headSize);
  key("context_length", "uint32", 256);
  key("attention.layer_norm_rms_epsilon", "float32", 1e-5);
  if (o.slidingWindow) {
    key("attention.sliding_window", "uint32", o.slidingWindow);
  }
  if (o.ropeScale) {
    metadata.set(`${o.architecture}.rope.scaling.type`, {
      type: "string",
      value: "linear",
    });
    key("rope.scaling.factor", "float32", o.ropeScale);
  }
  if (o.ropeFactors) add("rope_freqs.weight", [headSize / 2], 0.1, 2);

  const bytes = await toBuffer(
    writeGguf({ magic: o.magic, metadata, tensors }),
  );
  const source = fromBuffer(bytes, "random model");
  const described = describeModel(await readGguf(source));
  const { linearPredictor = false } = o;
  return { source, model: { ...described, linearPredictor }, bytes };
}

/** Two layers in F16: both sides of a hybrid multiply it by whole activations, so that they differ by rounding alone. */
export function smallF16(): Promise<RandomModel> {
  return randomModel({ type: "F16", downByNeuron: true, layerCount: 2 });
}
