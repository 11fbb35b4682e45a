/**
 * Signs that a model was made with another activation than its file says: most
 * loaders know one for each architecture, and compute that without a word.
 */
import { isSparse } from "../model/activation.ts";
import type { Model } from "../model/model.ts";
import { type PlaceStats, totalOf } from "../places/stats.ts";

/** What is said of it, in one line; undefined where nothing is odd. */
export type Doubt = string | undefined;

const remedy =
  "if its texts make no sense, say which activation it was made with (drelu, reglu, fatrelu=VALUE)";

/** Names of models that were made with a ReLU; weights may be sparse for another reason. */
const spoken = /relu|sparse|minicpm-?s\b/i;
const pruned = /sparsegpt|2of4|2:4|prun/i;

/** Whether a model's names speak of a ReLU, and its file of none. */
export function doubtOfName(
  { activation, name = "" }: Model,
  fileName: string,
): Doubt {
  const own = [name, fileName.replace(/^.*[/\\]/, "")]
    .find((each) => spoken.test(each) && !pruned.test(each));
  return own === undefined || isSparse(activation)
    ? undefined
    : `The model is called ${own}, as those of ReLU are, and its file says ${activation}: ${remedy}`;
}

/** Neurons that say something, at least. */
const leastNeurons = 10_000;

/** The share of gates that are positive in models without a ReLU, at least; in those made with one it is about 1% to 10%. */
const usualShare = 0.1;

/** Whether what was measured looks like a ReLU's: hardly any gate is positive, so that products are nearly all zero. */
export function doubtOfStats({ activation }: Model, stats: PlaceStats): Doubt {
  const neurons = totalOf(stats, "neurons");
  const share = totalOf(stats, "gatePositive") / neurons;
  const isOdd = !isSparse(activation) && neurons >= leastNeurons &&
    share < usualShare;
  return isOdd
    ? `Only ${
      (100 * share).toFixed(1)
    }% of the gates were positive, so that products were nearly all zero, and the file says ${activation}: ${remedy}`
    : undefined;
}
