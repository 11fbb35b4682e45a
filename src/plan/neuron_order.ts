/** The neurons of a layer in the order in which people look at them: by place, and hottest first. */
import { neuronsInOrder, type Part, type Plan } from "./plan.ts";

/** Above the rank of any neuron. */
const coldest = 2 ** 32;

/** A layer's neurons: the GPU's, then the hot ones of all CPU places, then the others. */
export interface NeuronOrder {
  /** The file's neuron indices */
  readonly order: Uint32Array;
  /** How many the GPU holds */
  readonly gpu: number;
  /** How many of the CPU's are read without asking */
  readonly hot: number;
}

/**
 * The neurons of one layer. `hotRows` says how many each CPU place reads without
 * asking. Where no profile says which fire most, they are in the file's order.
 */
export function neuronOrder(
  { places, gpu }: Plan,
  layer: number,
  hotRows: readonly number[],
): NeuronOrder {
  const ranked = places.flatMap(({ parts }, i) =>
    rankedNeurons(parts[layer]).map(({ id, rank }, row) => ({
      id,
      rank: rank + (row < hotRows[i] ? 0 : coldest),
    }))
  ).sort((a, b) => a.rank - b.rank);
  const gpuIds = gpu ? neuronsInOrder(gpu.parts[layer]) : [];
  return {
    order: Uint32Array.from([...gpuIds, ...ranked.map(({ id }) => id)]),
    gpu: gpuIds.length,
    hot: hotRows.reduce((sum, rows) => sum + rows, 0),
  };
}

function rankedNeurons(part: Part): { id: number; rank: number }[] {
  return Array.from(
    neuronsInOrder(part),
    (id, i) => ({ id, rank: part.firing?.rank[i] ?? id }),
  );
}
