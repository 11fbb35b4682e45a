import { UsageError } from "../../errors.ts";
import {
  bytesOfTensors,
  ggmlTypes,
  tensorBytes,
} from "../../formats/ggml/types.ts";
import { chunksOf, type TensorToWrite } from "../../formats/gguf/write.ts";
import { hubName, tensorOfGguf } from "../../model/schema.ts";
import { checkShape, type SynthOptions } from "./options.ts";
import { SynthTensors } from "./tensors.ts";
import { tokenizerJson } from "./vocabulary.ts";

/** A file of a folder, made while it is read. */
export interface SynthFolderFile {
  /** Its name, without a path */
  readonly name: string;
  /** First byte to last; read them once */
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A folder that is made while it is read. */
export interface SynthFolder {
  /** Bytes of all tensors */
  readonly tensorBytes: number;
  /** Its files, in the order to write them */
  readonly files: readonly SynthFolderFile[];
}

/** Weights of a file, as Hugging Face cuts its checkpoints. */
const defaultShardBytes = 5e9;

/**
 * Makes a Hugging Face folder: config.json, tokenizer.json and safetensors with
 * an index. Its weights are those of the same options in form `llama`, rows of
 * queries and keys being taken as Hugging Face orders them.
 *
 * @param shardBytes The most bytes of tensors in a file, but for one that is larger.
 * @throws {UsageError} for sizes or shares that make no model, and types that safetensors does not have
 * @throws {LimitError} for sizes that no model has
 */
export function synthesiseFolder(
  options: Omit<SynthOptions, "form" | "predictor">,
  shardBytes: number = defaultShardBytes,
): SynthFolder {
  const { shape, type } = options;
  if (ggmlTypes[type].blockSize > 1) {
    throw new UsageError(
      `Cannot make a Hugging Face folder of ${type}: it holds F32, F16 and BF16`,
    );
  }
  checkShape(shape, 1);
  if (shape.expertCount) {
    throw new UsageError(
      "Cannot make a Hugging Face folder of a mixture of experts",
    );
  }
  const tensors = new SynthTensors({ ...options, form: "llama" }).list();
  const shards = shardsOf(tensors, shardBytes);
  const total = String(shards.length).padStart(5, "0");
  const named = shards.map((tensors, i) => {
    const number = String(i + 1).padStart(5, "0");
    return { name: `model-${number}-of-${total}.safetensors`, tensors };
  });
  const weight_map = Object.fromEntries(
    named.flatMap(({ name, tensors }) =>
      tensors.map((tensor) => [nameOf(tensor), name])
    ),
  );
  const total_size = bytesOfTensors(tensors);
  const index = { metadata: { total_size }, weight_map };
  return {
    tensorBytes: total_size,
    files: [
      json("config.json", configOf(options)),
      json("tokenizer.json", tokenizerJson(shape.vocabSize)),
      json("model.safetensors.index.json", index),
      ...named.map(({ name, tensors }) => ({ name, chunks: write(tensors) })),
    ],
  };
}

/** Hugging Face's name. */
function nameOf({ name }: TensorToWrite): string {
  return hubName(tensorOfGguf(name)!)!;
}

function shardsOf(
  tensors: readonly TensorToWrite[],
  shardBytes: number,
): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor.type, tensor.shape);
    if (bytes > room) {
      shards.push([]);
      room = shardBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= bytes;
  }
  return shards;
}

/** A safetensors file: the header's length, the header, the tensors. */
async function* write(
  tensors: readonly TensorToWrite[],
): AsyncGenerator<Uint8Array> {
  let end = 0;
  const entries = tensors.map((tensor) => [nameOf(tensor), {
    dtype: tensor.type,
    shape: tensor.shape.toReversed(),
    data_offsets: [end, end += tensorBytes(tensor.type, tensor.shape)],
  }]);
  const header = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries(entries)),
  );
  const length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(header.length), true);
  yield new Uint8Array(length.buffer);
  yield header;
  for (const tensor of tensors) yield* chunksOf(tensor);
}

function configOf(
  { shape, activation }: Pick<SynthOptions, "shape" | "activation">,
) {
  const isBamboo = activation === "drelu";
  return {
    architectures: [isBamboo ? "BambooForCausalLM" : "LlamaForCausalLM"],
    model_type: isBamboo ? "bamboo" : "llama",
    hidden_act: "relu",
    hidden_size: shape.hiddenSize,
    intermediate_size: shape.feedForwardSize,
    num_hidden_layers: shape.layerCount,
    num_attention_heads: shape.headCount,
    num_key_value_heads: shape.kvHeadCount,
    head_dim: shape.headSize,
    max_position_embeddings: shape.contextSize,
    vocab_size: shape.vocabSize,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
  };
}

function json(name: string, value: object): SynthFolderFile {
  return { name, chunks: [new TextEncoder().encode(JSON.stringify(value))] };
}
