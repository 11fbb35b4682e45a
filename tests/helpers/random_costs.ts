/**
 * Random costs and sizes of a model's parts, for tests of planners.
 *
 * @module
 */
import type { Model } from "../../src/model/model.ts";
import type { Costs } from "../../src/plan/costs.ts";
import { lengthOf } from "../../src/model/index_set.ts";
import type { PlacePlan } from "../../src/plan/plan.ts";
import { seededRandom } from "./seeded_random.ts";

/** What parts cost and take. */
export interface RandomCosts {
  readonly costs: Costs;
  /** Bytes of a plan: 16 for a neuron in any layer, whole multiples of 8 for all else. */
  readonly bytesOf: (gpu: PlacePlan) => number;
}

/** Costs of the order of 1 ms, and sizes of the order of 100 bytes. */
export function randomCosts(model: Model, seed: number): RandomCosts {
  const random = seededRandom(seed);
  const side = (scale: number) => ({
    cpu: scale * random(),
    gpu: 0.5 * scale * random(),
  });
  const { feedForwardSize } = model;
  const values = (scale: number) =>
    Float64Array.from({ length: feedForwardSize }, () => scale * random());
  const costs: Costs = {
    layers: model.layers.map(() => ({
      attention: side(1),
      ffn: side(0.1),
      squares: { attention: 0.4 * random(), ffn: 0.4 * random() },
      neurons: {
        cpu: values(2 / feedForwardSize),
        gpu: values(1 / feedForwardSize),
      },
      active: values(1),
      chosen: new Float64Array(model.expertCount).fill(1),
    })),
    embed: side(0.1),
    head: side(1),
    toGpu: 0.2 * random(),
    toCpu: 0.4 * random(),
  };
  const whole = (most: number) => 8 * Math.floor(random() * most / 8);
  const fixed = whole(60), vocab = whole(200);
  const attention = model.layers.map(() => whole(100));
  const bytesOf = ({ parts, vocab: rows }: PlacePlan) =>
    parts.reduce(
      (sum, { heads, neurons }, i) =>
        sum + attention[i] * lengthOf(heads) / model.headCount +
        16 * lengthOf(neurons),
      fixed + vocab * lengthOf(rows) / model.vocabSize,
    );
  return { costs, bytesOf };
}
