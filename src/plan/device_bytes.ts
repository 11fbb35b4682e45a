/**
 * About how many bytes a plan takes on a device, told from the model's header
 * alone.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import { attentionBytes, neuronBytes } from "./costs.ts";
import { lengthOf } from "./indices.ts";
import type { PlacePlan } from "./plan.ts";

/** What a device makes room for beside weights. */
export interface DeviceRoom {
  /** Positions of keys and values */
  readonly contextSize: number;
  /** Bytes of the key and value of one position in one KV head */
  readonly positionBytes: number;
  /** Most tokens in a step */
  readonly batchSize: number;
}

/**
 * Estimates the bytes of weights, keys and values, and of the vectors of a step;
 * an empty plan takes none.
 */
export function estimateDeviceBytes(
  model: Model,
  gpu: PlacePlan,
  { contextSize, positionBytes, batchSize }: DeviceRoom,
): number {
  const { hiddenSize, feedForwardSize, headCount, kvHeadCount } = model;
  const rows = model.output === model.token_embd
    ? [model.output]
    : [model.output, model.token_embd];
  const vocabShare = lengthOf(gpu.vocab) / model.vocabSize;
  let weights = vocabShare *
    rows.reduce((sum, { byteLength }) => sum + byteLength, 0);
  model.layers.forEach((layer, i) => {
    const { heads, neurons } = gpu.parts[i];
    const { gate, up, down } = neuronBytes(layer, feedForwardSize);
    weights += lengthOf(neurons) * (gate + up + down) +
      lengthOf(heads) / headCount *
        (attentionBytes(layer) + contextSize * positionBytes * kvHeadCount);
  });
  if (weights === 0) return 0;
  const widest = Math.max(
    ...gpu.parts.map(({ neurons }) => lengthOf(neurons)),
  );
  // The residual and its like, q, k, v and the heads' result, g and h, as f32.
  const vectors = 6 * hiddenSize + 2 * widest;
  return weights + 4 * batchSize * vectors;
}
