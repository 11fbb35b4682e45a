/**
 * A predictor: two small matrices that say which neurons may fire, from the
 * residual (PowerInfer's, with a ReLU between the two) or from the normed one
 * (culm's own, which are linear).
 */
import type { GroupRows } from "./group_rows.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import type { WasmMemory } from "../../kernels/memory.ts";

/** Scratch of one place's predictors; their matrices are handed in by layer. */
export class Predictor {
  /** What it says of each neuron, `[tokens, neurons]`. */
  readonly scores: F32Rows;
  /** The layer's: it selects the neurons whose score is at least this. */
  threshold = 0;
  readonly #rankValues: Activations;

  /** `thresholds` are those of each layer. */
  constructor(
    readonly memory: WasmMemory,
    maxTokens: number,
    neurons: number,
    rank: number,
    readonly isLinear: boolean,
    readonly thresholds: readonly number[],
  ) {
    this.scores = allocateRows(memory, maxTokens, neurons);
    this.#rankValues = new Activations(memory, maxTokens, rank);
  }

  /**
   * scores = fc2 · relu(fc1 · input), or fc2 · fc1 · input, of the cold rows, from
   * `hot` on; hot ones are always selected. Returns the bytes of weights read.
   */
  score(
    layer: number,
    fc1: PackedMatrix,
    fc2: PackedMatrix,
    input: Activations,
    tokens: number,
    hot: number,
  ): number {
    const z = this.#rankValues;
    this.threshold = this.thresholds[layer];
    input.changed();
    const bytes = fc1.multiply(input, tokens, z);
    if (!this.isLinear) this.memory.kernels.relu(z.pointer, tokens * z.stride);
    z.changed();
    const { pointer, stride } = this.scores;
    const out = { pointer: pointer + 4 * hot, stride };
    for (let t = 0; t < tokens; t++) {
      this.memory.f32(pointer + 4 * t * stride, hot).fill(Infinity);
    }
    return bytes + fc2.multiplyRange(z, tokens, hot, fc2.rows - hot, out);
  }

  /** Writes into `ids` for which of the rows `first..rows` of token t it asks, counted from `first`; returns how many. */
  select(t: number, first: number, rows: number, ids: number): number {
    return this.memory.kernels.select_at_least(
      this.scores.pointer + 4 * (t * this.scores.stride + first),
      rows - first,
      this.threshold,
      ids,
    );
  }

  /** As `select` for all rows of the first token, in the order of their groups. */
  selectInOrder({ order, rows }: GroupRows, ids: number): number {
    return this.memory.kernels.select_in_order(
      this.scores.pointer,
      order,
      rows,
      this.threshold,
      ids,
    );
  }

  /** Sets to zero the gates of token t, `[rows]`, for which it does not ask. */
  drop(t: number, rows: number, gate: F32Rows): void {
    const row = ({ pointer, stride }: F32Rows) =>
      this.memory.f32(pointer + 4 * t * stride, rows);
    const gates = row(gate), scores = row(this.scores);
    for (let j = 0; j < rows; j++) {
      if (!(scores[j] >= this.threshold)) gates[j] = 0;
    }
  }
}
