import { isReadType } from "../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { randomBlocks } from "../../src/formats/ggml/random_blocks.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { gaussianVector, seededRandom } from "./seeded_random.ts";

/** `count` weights of any type: normal ones, or random blocks where culm does not write the type. */
export function randomWeights(
  type: GgmlType,
  count: number,
  seed: number,
  size = 1,
): Uint8Array<ArrayBuffer> {
  return isReadType(type)
    ? randomBlocks(type, count, size, seededRandom(seed))
    : quantise(type, gaussianVector(count, seed, size));
}
