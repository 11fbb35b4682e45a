/**
 * Places that run steps together: what the engine talks to.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import { lengthOf, type Plan } from "../plan/plan.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import type { Rates } from "../plan/border.ts";
import { Batch, type BatchLimits } from "./batch.ts";
import { exchange } from "./exchange.ts";
import { forward, type Place } from "./place.ts";
import type { NeuronCounts } from "./neuron_counts.ts";
import type { NormedStates } from "./normed_states.ts";
import type { LayerCounts } from "./stats.ts";
import { Turns } from "./turns.ts";

/** Runs one step at a time. */
export interface Team extends AsyncDisposable {
  /** What computes, for people: `WASM relaxed SIMD, 2 threads`. */
  readonly description: string;
  /** The limits of a step. */
  readonly limits: BatchLimits;
  /** Fill this in, then {@linkcode run}. */
  readonly batch: Batch;
  /** Bytes of weights that all places hold. */
  readonly weightBytes: number;
  /** Counters of each place. */
  readonly counts: readonly LayerCounts[];
  /** Counters of every neuron, where the options ask for them. */
  readonly neuronCounts?: NeuronCounts;
  /** What the feed-forward layers of the last step read, where the options ask for it. */
  readonly normedStates?: NormedStates;
  /** How fast each place reads its rows, where it has measured that. */
  readonly rates: readonly Rates[];
  /**
   * Runs the batch. Gives a row of logits, `[vocabSize]`, for each token that
   * wants one, in the batch's order; valid until the next run.
   *
   * @throws {PlaceError} where a place died
   */
  run(): Promise<Float32Array[]>;
  /**
   * Measures the rates anew, by all places at once, between two runs.
   *
   * @throws {PlaceError} where a place died
   */
  measureRates(): Promise<readonly Rates[]>;
}

/** Places in the caller's thread, in lockstep and in time slices. */
export class InlineTeam implements Team {
  /** See {@linkcode Team.batch}. */
  readonly batch: Batch;
  /** See {@linkcode Team.weightBytes}. */
  readonly weightBytes: number;
  /** See {@linkcode Team.counts}. */
  readonly counts: readonly LayerCounts[];
  /** See {@linkcode Team.rates}. */
  rates: readonly Rates[];

  /** `places` hold what `plan` says, in its order. */
  constructor(
    readonly description: string,
    readonly model: Model,
    readonly plan: Plan,
    readonly places: readonly Place[],
    readonly sparsity: Sparsity,
    readonly limits: BatchLimits,
    readonly neuronCounts?: NeuronCounts,
    readonly normedStates?: NormedStates,
  ) {
    this.rates = places.flatMap(({ rates }) => rates ?? []);
    this.batch = new Batch(limits, new ArrayBuffer(Batch.byteLength(limits)));
    this.counts = places.map((place) => place.counts);
    this.weightBytes = places.reduce((sum, p) => sum + p.weightBytes, 0);
  }

  /** See {@linkcode Team.run}. */
  async run(): Promise<Float32Array[]> {
    const { model, places, batch, sparsity } = this;
    const share = sparsity.mode === "top-k" ? sparsity.share : 1;
    const passes = places.map((place) =>
      forward(model, place, batch, sparsity)
    );
    const turns = new Turns();
    for (;;) {
      const meetings = passes.map((pass) => pass.next());
      const { done, value } = meetings[0];
      if (done) break;
      exchange(value, places, batch, share);
      if (turns.due) await turns.give();
    }
    return this.#wholeRows();
  }

  /** See {@linkcode Team.measureRates}. */
  measureRates(): Promise<readonly Rates[]> {
    this.rates = this.places.flatMap((place) => place.measureRates?.() ?? []);
    return Promise.resolve(this.rates);
  }

  /** Nothing to stop. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #wholeRows(): Float32Array[] {
    const { batch, plan, model } = this;
    const rows = Array.from(
      { length: batch.logitCount },
      () => new Float32Array(model.vocabSize),
    );
    this.places.forEach((place, i) => {
      const { vocab } = plan.places[i];
      if (lengthOf(vocab) === 0) return;
      place.logits(batch).forEach((columns, r) =>
        rows[r].set(columns, vocab.start)
      );
    });
    return rows;
  }
}
