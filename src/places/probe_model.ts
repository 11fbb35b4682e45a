/**
 * What a machine is measured on before anything is loaded: a model of a few
 * layers, as wide as the one to come and of its types, whose weights are zero.
 * Experts are neurons like others in it: as many as a token chooses.
 */
import { bufferFor, type ByteSource } from "../bytes/byte_source.ts";
import { tensorBytes } from "../formats/ggml/types.ts";
import type { LayerTensors, Model } from "../model/model.ts";
import { type Dimension, mapTensors, tensorSchemas } from "../model/schema.ts";

/** What of a model is measured. */
export interface ProbeShape {
  readonly neurons: number;
  readonly layers: number;
  /** Tokens that it knows: few, where the head is not measured */
  readonly vocabSize?: number;
  /** Whether predictors are asked */
  readonly predicts?: boolean;
}

/** A model of that many neurons and layers to measure on, and with its predictors where these are asked. */
export function probeModel(
  model: Model,
  { neurons, layers, vocabSize = 32, predicts = false }: ProbeShape,
): Model {
  const [{ fc1, fc2, ffn_gate_inp: _, ffn_gate_inp_bias: __, ...rest }] =
    model.layers;
  const layer: LayerTensors = predicts ? { fc1, fc2, ...rest } : rest;
  const tensors = {
    ...model,
    layers: Array.from({ length: layers }, () => layer),
  };
  const changed = new Map<Dimension | undefined, number>([
    ["ffn", neurons],
    ["expert", neurons],
    ["outputs", model.hiddenSize],
    ["vocab", vocabSize],
    ...(fc2 ? [["rank", fc2.shape[0]] as const] : []),
  ]);
  return {
    ...model,
    feedForwardSize: neurons,
    expertCount: 1,
    routing: undefined,
    vocabSize,
    attention: tensors.layers.map(() => model.attention[0]),
    ...mapTensors(tensors, (tensor, name) => {
      const shape = tensor.shape.map((length, i) =>
        changed.get(tensorSchemas[name].shape[i]) ?? length
      );
      return { ...tensor, shape, byteLength: tensorBytes(tensor.type, shape) };
    }),
  };
}

/** Zeros without end. A buffer that is read into again still has those of the last time. */
export const zeros: ByteSource = {
  name: "zeros",
  size: Number.MAX_SAFE_INTEGER,
  read: (_offset, length, spare) => Promise.resolve(bufferFor(length, spare)),
  close: () => Promise.resolve(),
};
