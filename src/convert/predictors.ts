import type { ByteSource } from "../bytes/byte_source.ts";
import type { Folder } from "../bytes/folder.ts";
import { FormatError, UnsupportedError } from "../errors.ts";
import type { GgmlType } from "../formats/ggml/types.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import { type TensorToWrite, toBuffer } from "../formats/gguf/write.ts";
import {
  readTorch,
  tensorsOf,
  type TorchDtype,
  type TorchTensor,
} from "../formats/torch/read.ts";
import { ggufName } from "../model/schema.ts";
import { type Contents, layerCountOf } from "./contents.ts";
import { type Rows, whole } from "./rows.ts";

const types: Readonly<Partial<Record<TorchDtype, GgmlType>>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

/**
 * Adds a predictor to each layer, in place of those that there are: fc1 and fc2
 * as PyTorch wrote them into PowerInfer's `model_{i}.pt`. Closing the result
 * closes the contents that were given.
 *
 * @throws {UsageError} where a layer's file is missing
 * @throws {FormatError} where one is damaged, or has no fc1 and fc2
 */
export async function withPredictors(
  contents: Contents,
  folder: Folder,
): Promise<Contents> {
  const tensors = new Map(contents.tensors);
  const sources: ByteSource[] = [];
  const closeSources = async () => {
    for (const source of sources) await source.close();
  };
  const layers = layerCountOf(contents);
  try {
    for (let layer = 0; layer < layers; layer++) {
      const source = await folder.open(`model_${layer}.pt`);
      sources.push(source);
      const found = tensorsOf(await readTorch(source));
      for (const name of ["fc1", "fc2"] as const) {
        const tensor = found.get(ggufName(name));
        tensors.set(ggufName(name, layer), rowsOf(source, name, tensor));
      }
    }
  } catch (error) {
    await closeSources();
    throw error;
  }
  const close = async () => {
    await closeSources();
    await contents.close();
  };
  return {
    ...contents,
    tensors,
    sources: [...contents.sources, ...sources],
    close,
  };
}

/**
 * Adds a predictor's tensors, in place of those that there are. They must be
 * those of a threshold of 0, and so must the file.
 */
export function withTensors(
  contents: Contents,
  predictor: readonly TensorToWrite[],
): Contents {
  const metadata = new Map(contents.metadata);
  metadata.set("powerinfer.sparse_threshold", entry.real(0));
  const tensors = new Map(contents.tensors);
  for (const { name, type, shape, data } of predictor) {
    const fetch = async () =>
      data instanceof Uint8Array ? data : await toBuffer(data());
    tensors.set(name, whole(type, shape, fetch));
  }
  return { ...contents, metadata, tensors };
}

function rowsOf(
  source: ByteSource,
  name: string,
  tensor: TorchTensor | undefined,
): Rows {
  if (!tensor || tensor.shape.length !== 2 || tensor.length === 0) {
    throw new FormatError(
      `Cannot read ${source.name}: it has no matrix ${name}.weight, which a predictor has`,
    );
  }
  const type = types[tensor.dtype];
  if (!type) {
    throw new UnsupportedError(
      `Cannot convert ${name}.weight of ${source.name}: its type is ${tensor.dtype}, known are ${
        Object.keys(types).join(", ")
      }`,
    );
  }
  return whole(type, tensor.shape.toReversed(), () => tensor.bytes());
}
