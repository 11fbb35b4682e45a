/**
 * The border of hot rows: how many of a layer's hottest neurons a place reads
 * without asking. Rows that follow one another are read three times as fast as
 * rows picked here and there, so a neuron that fires often is cheaper to read
 * always than to ask.
 */
import { lengthOf } from "../model/index_set.ts";
import type { LayerTensors, Model } from "../model/model.ts";
import { neuronBytes } from "./costs.ts";
import type { CpuRates } from "./machine.ts";
import type { Part, PlacePlan, Plan } from "./plan.ts";
import type { Sparsity } from "./sparsity.ts";

/** What the border depends on, beside the machine. */
export interface HotRowOptions {
  readonly sparsity: Sparsity;
  /** The share of each layer's neurons that is hot; what costs least where left out */
  readonly hotShare?: number;
}

/** What a picked byte is worth in streamed ones. */
export function pickRatio({ pick, stream }: CpuRates): number {
  return Math.min(1, pick / stream);
}

/**
 * What picking is worth to a predictor's border. Which neurons it is not asked
 * about decides the text, so that border may not be measured.
 */
const assumedRatio = 0.35;

/** The plan with the border of hot rows of each part, for CPU places of `cpu`'s rates. */
export function withHotRows(
  model: Model,
  plan: Plan,
  cpu: CpuRates,
  options: HotRowOptions,
): Plan {
  const ratio = pickRatio(cpu);
  return {
    ...plan,
    places: plan.places.map((place) => {
      const parts = place.parts.map((part, i) => ({
        ...part,
        hotRows: hotRows(model, model.layers[i], part, ratio, options),
      }));
      return { ...place, parts };
    }),
  };
}

/** The border of each layer, as a place's plan has it. */
export function hotRowsOf({ parts }: PlacePlan): number[] {
  return parts.map(({ hotRows }) => hotRows ?? 0);
}

/** The hot neurons of a part, which its profile, if it has one, puts first. */
function hotRows(
  model: Model,
  layer: LayerTensors,
  { firing, neurons }: Part,
  ratio: number,
  { hotShare, sparsity }: HotRowOptions,
): number {
  if (!firing) return 0;
  const { fc1, fc2 } = layer;
  if (sparsity.mode !== "predictor" || !fc1 || !fc2) {
    return hotShare === undefined
      ? hotBorder(firing.gatePositive, ratio)
      : Math.round(hotShare * lengthOf(neurons));
  }
  if (hotShare !== undefined) {
    // Of the whole layer, however it is cut: a predictor is not asked about them.
    const count = Math.round(hotShare * model.feedForwardSize);
    return firing.rank.filter((rank) => rank < count).length;
  }
  const { gate, up, down } = neuronBytes(layer, model.feedForwardSize);
  const asked = fc2.byteLength / model.feedForwardSize;
  // Neurons side by side are read by the same kernel, hot or not.
  return neuronsLieSideBySide(layer)
    ? hotBorder(firing.active, 1, asked / (gate + up + down))
    : hotBorder(firing.active, assumedRatio, asked / (gate + up));
}

/**
 * Whether the rows of gate, up and down of a neuron lie side by side where a
 * predictor picks neurons: where they are of one type, nothing is added to them,
 * and no router chooses among them.
 */
export function neuronsLieSideBySide(
  { ffn_gate, ffn_up, ffn_down_t, fc1, fc2, ...layer }: LayerTensors,
): boolean {
  return ffn_down_t !== undefined && fc1 !== undefined && fc2 !== undefined &&
    ffn_up.type === ffn_gate?.type && ffn_down_t.type === ffn_gate.type &&
    !layer.ffn_gate_bias && !layer.ffn_up_bias && !layer.ffn_gate_inp;
}

/**
 * How many of the hottest neurons to stream. `shares` says for what share of
 * tokens each row is needed, hottest first; the cost of streaming one row is 1,
 * that of picking it `share / ratio + question`, where `question` is what it
 * costs to find out whether it is needed.
 */
export function hotBorder(
  shares: ArrayLike<number>,
  ratio: number,
  question = 0,
): number {
  let cost = 0, best = 0, border = shares.length;
  for (let i = shares.length - 1; i >= 0; i--) {
    cost += shares[i] / ratio + question - 1;
    if (cost < best) {
      best = cost;
      border = i;
    }
  }
  return border;
}
