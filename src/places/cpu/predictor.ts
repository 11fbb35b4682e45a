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
} from "../../kernels/matrix.ts";
import type { Bank, CpuPlaceOptions } from "./options.ts";
import type { LayerWeights } from "./weights.ts";

/** Scratch of one bank's predictors. */
export class Predictor {
  /** What it says of each neuron, `[tokens, neurons]`. */
  readonly scores: F32Rows;
  /** The layer's: it selects the neurons whose score is at least this. */
  threshold = 0;
  readonly #isLinear: boolean;
  readonly #thresholds: readonly number[];
  readonly #rankValues: Activations;

  /** Room for the scores of `neurons` neurons, where the options have predictors asked. */
  constructor(
    { model, sparsity, limits: { tokens } }: CpuPlaceOptions,
    readonly bank: Bank,
    neurons: number,
  ) {
    const { memory, weights: { experts } } = bank;
    const predicts = sparsity.mode === "predictor";
    const ranks = experts.map((layer) => predicts && layer?.[0].fc1?.rows || 0);
    const own = predicts ? sparsity.threshold : undefined;
    this.#thresholds = model.sparseThresholds.map((stated) => own ?? stated);
    this.#isLinear = model.linearPredictor;
    this.scores = allocateRows(memory, tokens, predicts ? neurons : 0);
    this.#rankValues = new Activations(memory, tokens, Math.max(0, ...ranks));
  }

  /**
   * scores = fc2 · relu(fc1 · residual), or fc2 · fc1 · the normed one, of the cold
   * rows, from `hot` on; hot ones are always selected. Returns the bytes of weights
   * read.
   */
  score(
    layer: number,
    weights: LayerWeights,
    { normed, residual }: Record<"normed" | "residual", Activations>,
    tokens: number,
    hot: number,
  ): number {
    const { memory } = this.bank;
    const { fc1, fc2 } = weights as Required<LayerWeights>;
    const z = this.#rankValues, input = this.#isLinear ? normed : residual;
    this.threshold = this.#thresholds[layer];
    input.changed();
    const bytes = fc1.multiply(input, tokens, z);
    if (!this.#isLinear) memory.kernels.relu(z.pointer, tokens * z.stride);
    z.changed();
    const { pointer, stride } = this.scores;
    const out = { pointer: pointer + 4 * hot, stride };
    for (let t = 0; t < tokens; t++) {
      memory.f32(pointer + 4 * t * stride, hot).fill(Infinity);
    }
    return bytes + fc2.multiplyRange(z, tokens, hot, fc2.rows - hot, out);
  }

  /** Makes scores of token t say what they do at a threshold of its own; NaN where it has none. */
  takeThreshold(t: number, rows: number, threshold: number): void {
    if (Number.isNaN(threshold)) return;
    const { pointer, stride } = this.scores;
    const scores = this.bank.memory.f32(pointer + 4 * t * stride, rows);
    scores.forEach((score, j) =>
      scores[j] = score >= threshold ? Infinity : -Infinity
    );
  }

  /** Writes into `ids` for which of the rows `first..rows` of token t it asks, counted from `first`; returns how many. */
  select(t: number, first: number, rows: number, ids: number): number {
    return this.bank.memory.kernels.select_at_least(
      this.scores.pointer + 4 * (t * this.scores.stride + first),
      rows - first,
      this.threshold,
      ids,
    );
  }

  /** As `select` for all rows of the first token, in the order of their groups. */
  selectInOrder({ order, rows }: GroupRows, ids: number): number {
    return this.bank.memory.kernels.select_in_order(
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
      this.bank.memory.f32(pointer + 4 * t * stride, rows);
    const gates = row(gate), scores = row(this.scores);
    for (let j = 0; j < rows; j++) {
      if (!(scores[j] >= this.threshold)) gates[j] = 0;
    }
  }
}
