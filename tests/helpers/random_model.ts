/**
 * Small random models as GGUF files in memory, of any architecture, type and
 * shape, for tests that compare places.
 *
 * @module
 */
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { isReadType } from "../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { randomBlocks } from "../../src/formats/ggml/random_blocks.ts";
import { type GgmlType, ggmlTypes } from "../../src/formats/ggml/types.ts";
import { type MetadataEntry, readGguf } from "../../src/formats/gguf/read.ts";
import {
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../../src/formats/gguf/write.ts";
import { architectures } from "../../src/model/architectures.ts";
import {
  hyperParameterMetadata,
  type HyperParameters,
} from "../../src/model/hyper_parameters.ts";
import { describeModel, type Model } from "../../src/model/model.ts";
import {
  allTensorNames,
  ggufName,
  shapeOf,
  sideLengths,
  type TensorName,
  tensorSchemas,
} from "../../src/model/schema.ts";
import type { Traits } from "../../src/model/traits.ts";
import { seededGaussian, seededRandom } from "./seeded_random.ts";

/** What to make. Sizes count elements. */
export interface RandomModelOptions {
  architecture?: string;
  magic?: "GGUF" | "PWRI";
  /** Type of the matrices; rows that its blocks do not divide become F32. */
  type?: GgmlType;
  /** Other types of some matrices, by their names in the file */
  typeOf?: (name: string) => GgmlType | undefined;
  hiddenSize?: number;
  /** Neurons of one expert, where there are several */
  feedForwardSize?: number;
  /** Of which a token chooses some, two if it is not said */
  expertCount?: number;
  usedExperts?: number;
  /** How many times as wide as an expert the shared one is; none where left out */
  sharedExperts?: number;
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
  /** A bias of every matrix that may have one */
  biases?: boolean;
  /** Over those that the file has */
  traits?: Partial<Traits>;
  tied?: boolean;
  slidingWindow?: number;
  ropeFactors?: boolean;
  ropeScale?: number;
  /** Longrope's factors, for contexts above so many positions and below */
  longRope?: number;
  /** Queries, keys and values in one tensor, gate and up in another */
  fused?: boolean;
  /** Further keys of the header */
  keys?: HyperParameters;
  seed?: number;
  /** More of the header, such as a vocabulary */
  metadata?: Record<string, MetadataEntry>;
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
  const bytes = await randomFile(options);
  const source = fromBuffer(bytes, "random model");
  const described = describeModel(await readGguf(source));
  const { linearPredictor = false, traits } = options;
  const model = { ...described, ...traits, linearPredictor };
  return { source, model, bytes };
}

/** The same as a file, which may be one that culm does not run. */
export async function randomFile(
  options: RandomModelOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
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
    expertCount: 1,
    seed: 1,
    ...options,
  };
  const { expertCount } = o, hasExperts = expertCount > 1;
  const headSize = o.headSize ?? o.hiddenSize / o.headCount;
  const random = seededGaussian(o.seed);
  const tensors: TensorToWrite[] = [];
  const { vocabSize } = o;
  const { needs, takes, qkNorm, names = {} } = architectures
    .get(o.architecture)!;
  const chosen = new Set<TensorName>([
    ...needs,
    ...(o.biases ? takes.filter((name) => name.endsWith("_bias")) : []),
    o.downByNeuron ? "ffn_down_t" : "ffn_down",
    ...(o.predictorRank ? ["fc1", "fc2"] as const : []),
    ...(o.tied ? [] : ["output"] as const),
    ...(hasExperts ? ["ffn_gate_inp"] as const : []),
    ...(o.ropeFactors ? ["rope_freqs"] as const : []),
    ...(o.longRope ? ["rope_factors_long", "rope_factors_short"] as const : []),
  ]);
  const ropeSize = o.keys?.ropeSize ?? headSize;
  const feedForwardSize = expertCount * o.feedForwardSize;
  const sizes = { ...o, headSize, ropeSize, qkNorm, feedForwardSize };
  const fileNames = new Map(
    Object.entries(names).map(([file, own]) => [own, file]),
  );
  for (const { name, layer } of allTensorNames(o.layerCount)) {
    if (tensorSchemas[name].optional && !chosen.has(name)) continue;
    const shape = shapeOf(name, {
      ...sideLengths(sizes),
      vocab: vocabSize,
      rank: (o.predictorRank ?? 0) - (o.type === "F32" ? layer ?? 0 : 0),
    });
    // Each expert's rows are a matrix of their own.
    if (hasExperts && tensorSchemas[name].perExpert) {
      const rows = shape.pop()!;
      const each = name === "fc1" ? rows : rows / expertCount;
      shape.push(each, expertCount);
    }
    const length = shape.reduce((product, side) => product * side, 1);
    const isVector = tensorSchemas[name].shape.length === 1;
    const [scale, mean] = spreadOf(name, isVector ? [length] : shape);
    const values = Float32Array.from(
      { length },
      () => mean + scale * random(),
    );
    const fileName = ggufName(
      fileNames.get(name) as TensorName ?? name,
      layer,
      hasExperts,
    );
    const wanted = o.typeOf?.(fileName) ?? o.type;
    const fits = shape.length > 1 && !isVector &&
      shape[0] % ggmlTypes[wanted].blockSize === 0;
    const type = fits ? wanted : "F32";
    const data = isReadType(type)
      ? randomBlocks(type, length, scale, seededRandom(1 + tensors.length))
      : quantise(type, values);
    tensors.push({ name: fileName, type, shape, data });
  }
  if (o.sharedExperts) {
    const shared = o.sharedExperts * o.feedForwardSize;
    for (let layer = 0; layer < o.layerCount; layer++) {
      for (
        const [name, shape] of [
          ["ffn_gate_inp", [o.hiddenSize]],
          ["ffn_gate", [o.hiddenSize, shared]],
          ["ffn_up", [o.hiddenSize, shared]],
          ["ffn_down", [shared, o.hiddenSize]],
        ] as const
      ) {
        const routed = tensors.find((tensor) =>
          tensor.name === ggufName(name, layer, true)
        )!;
        const length = shape.reduce((product, side) => product * side, 1);
        const values = Float32Array.from(
          { length },
          () => random() / Math.sqrt(shape[0]),
        );
        const fileName = `blk.${layer}.${name}_shexp.weight`;
        const type = o.typeOf?.(fileName) ?? routed.type;
        const scale = 1 / Math.sqrt(shape[0]);
        const data = isReadType(type)
          ? randomBlocks(type, length, scale, seededRandom(1 + tensors.length))
          : quantise(type, values);
        tensors.push({ name: fileName, type, shape, data });
      }
    }
  }
  const metadata = new Map<string, MetadataEntry>([
    ["general.architecture", { type: "string", value: o.architecture }],
    ...hyperParameterMetadata(o.architecture, {
      ...sizes,
      feedForwardSize: o.feedForwardSize,
      expertCount: hasExperts ? expertCount : undefined,
      expertSize: hasExperts ? o.feedForwardSize : undefined,
      usedExperts: hasExperts ? o.usedExperts ?? 2 : undefined,
      sharedExpertSize: o.sharedExperts
        ? o.sharedExperts * o.feedForwardSize
        : undefined,
      ropeSize: undefined,
      valueSize: headSize,
      contextSize: 256,
      rmsEpsilon: 1e-5,
      ropeScaling: o.longRope ? "longrope" : o.ropeScale ? "linear" : undefined,
      originalContextSize: o.longRope,
      ...o.keys,
    }),
    ...Object.entries(o.metadata ?? {}),
  ]);

  return await toBuffer(
    writeGguf({
      magic: o.magic,
      metadata,
      tensors: o.fused ? fusedTensors(tensors) : tensors,
    }),
  );
}

/** Some tensors behind one another in one, as converters of Phi write them. */
function fusedTensors(tensors: readonly TensorToWrite[]): TensorToWrite[] {
  const joined: Record<string, string> = {
    attn_q: "attn_qkv",
    attn_k: "attn_qkv",
    attn_v: "attn_qkv",
    ffn_gate: "ffn_up",
    ffn_up: "ffn_up",
  };
  const nameOf = ({ name }: TensorToWrite) =>
    name.replace(
      /(\.)(\w+)(\.\w+)$/,
      (_, before, own, after) => before + (joined[own] ?? own) + after,
    );
  return Array.from(Map.groupBy(tensors, nameOf), ([name, parts]) => {
    const rows = parts.reduce((sum, { shape }) => sum + shape.at(-1)!, 0);
    const bytes = parts.flatMap(({ data }) => Array.from(data as Uint8Array));
    const shape = [...parts[0].shape.slice(0, -1), rows];
    return { ...parts[0], name, shape, data: Uint8Array.from(bytes) };
  });
}

/** Standard deviation and mean of a tensor's weights. */
function spreadOf(
  name: TensorName,
  [columns, rows]: number[],
): [scale: number, mean: number] {
  if (name.startsWith("rope_")) return [0.1, name.endsWith("_long") ? 3 : 2];
  if (name.endsWith("_bias")) return [0.3, 0];
  if (name === "attn_sinks") return [1, 0];
  if (rows === undefined) return [0.1, 1];
  const unit = 1 / Math.sqrt(columns);
  switch (name) {
    case "token_embd":
      return [1, 0];
    case "attn_q":
    case "attn_k":
      return [1.5 * unit, 0];
    case "ffn_gate_inp":
      return [2 * unit, 0];
    case "ffn_gate":
      return [unit, -0.3 * unit];
    case "ffn_down_t":
      return [1 / Math.sqrt(rows), 0];
  }
  return [unit, 0];
}

/** Layers in F16: both sides of a hybrid multiply them by whole activations, so that they differ by rounding alone. */
export function smallF16(layerCount = 2): Promise<RandomModel> {
  return randomModel({ type: "F16", downByNeuron: true, layerCount });
}
