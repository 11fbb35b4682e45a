/**
 * What a machine is measured on before anything is loaded: a model of a few
 * layers, as wide as the one to come and of its types, whose weights are zero.
 *
 * @module
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { bufferFor } from "../bytes/buffer.ts";
import { tensorBytes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import type { LayerTensors, Model } from "../model/model.ts";

/** Rows of its vocabulary. */
const probeVocabulary = 32;

/** A model of that many neurons and layers to measure on, and its file, which is all zeros. */
export function probeModel(
  model: Model,
  neurons: number,
  layers: number,
): { model: Model; source: ByteSource } {
  const [{ fc1: _fc1, fc2: _fc2, ...layer }] = model.layers;
  const probe: LayerTensors = {
    ...layer,
    ffn_gate: withRows(layer.ffn_gate, neurons),
    ffn_up: withRows(layer.ffn_up, neurons),
    ffn_down_t: layer.ffn_down_t && withRows(layer.ffn_down_t, neurons),
    ffn_down: layer.ffn_down && withShape(
      layer.ffn_down,
      [neurons, model.hiddenSize],
    ),
  };
  const token_embd = withRows(model.token_embd, probeVocabulary);
  return {
    model: {
      ...model,
      feedForwardSize: neurons,
      vocabSize: probeVocabulary,
      layers: Array.from({ length: layers }, () => probe),
      token_embd,
      output: model.output === model.token_embd
        ? token_embd
        : withRows(model.output, probeVocabulary),
    },
    source: zeros,
  };
}

const zeros: ByteSource = {
  name: "zeros",
  size: Number.MAX_SAFE_INTEGER,
  read: (_offset, length, spare) =>
    Promise.resolve(bufferFor(length, spare).fill(0)),
  close: () => Promise.resolve(),
};

function withRows(tensor: TensorInfo, rows: number): TensorInfo {
  return withShape(tensor, [tensor.shape[0], rows]);
}

function withShape(tensor: TensorInfo, shape: [number, number]): TensorInfo {
  return { ...tensor, shape, byteLength: tensorBytes(tensor.type, shape) };
}
