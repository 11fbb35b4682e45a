/**
 * Where places put what they hand one another, in one buffer that threads may
 * share.
 */
import { roundUp } from "../kernels/packing.ts";
import { lengthOf } from "../model/index_set.ts";
import { expertSize, routedNeurons, withinExpert } from "../model/experts.ts";
import type { Model } from "../model/model.ts";
import { allPlaces, type PlacePlan, type Plan } from "../plan/plan.ts";
import {
  scheduleOf,
  type Squares,
  type Stage,
  type StageKind,
} from "../plan/schedule.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import { type Batch, type BatchLimits, copyRows } from "./batch.ts";
import type { CacheType } from "./cache_type.ts";
import { topKThresholds } from "./top_k.ts";
import {
  packTopLogits,
  type Picked,
  pickedByCpuAtMost,
  resultLength,
} from "./top_logits_row.ts";

/** What a team computes, and where. */
export interface ExchangeOptions {
  readonly model: Model;
  readonly plan: Plan;
  readonly limits: BatchLimits;
  readonly sparsity: Sparsity;
  /** How keys and values are kept */
  readonly cacheType: CacheType;
}

/** Stages whose terms, and residuals, lie apart, so that one barrier between writing and reading them is enough. */
const turns = 2;

/** Rows that places exchange. Each thread has its own views over the same bytes. */
export class ExchangeBuffers {
  /** `[turns][terms]`, `[tokens, stride]` each */
  readonly #terms: readonly (readonly Float32Array[])[];
  /** By kind of stage, `[tokens, width]`: what heads, or neurons, computed */
  readonly #inputs: Partial<Record<StageKind, Float32Array>>;
  /** `[tokens, width]` each */
  readonly #squares: Readonly<Record<Squares, Float32Array>>;
  /** Rows that a batch of so many tokens has: by stage, those of its terms */
  readonly #termRows = new Map<Stage, readonly Float32Array[]>();
  /** By kind of stage, those of its inputs */
  readonly #inputRows = new Map<StageKind, Float32Array>();
  #tokens = -1;
  /** `[tokens, used, 2]`: experts, and the bits of what they count */
  readonly #choices: Uint32Array;
  /** `[turns]`, `[tokens, stride]` each: the residual that one side hands to the other */
  readonly #residuals: readonly Float32Array[];
  /** `[tokens, values]`, for top-k alone: one place's neurons after another's; of experts, of those that a token chose */
  readonly #neurons: Float32Array;
  /** `[tokens, vocabSize]` */
  readonly #logits: Float32Array;
  /** `[tokens, hiddenSize]` */
  readonly #states: Float32Array;
  readonly #stride: number;
  /** The most logits that a CPU place picks of a row */
  readonly #mostPicked: number;
  /** The places, the GPU's last */
  readonly #plans: readonly PlacePlan[];

  /** Lays the rows over `buffer`, which has `byteLength` bytes from `offset`. */
  constructor(
    readonly options: ExchangeOptions,
    readonly batch: Batch,
    buffer: ArrayBufferLike = new ArrayBuffer(
      ExchangeBuffers.byteLength(options),
    ),
    offset = 0,
  ) {
    const sizes = floatsOf(options);
    const next = (length: number): Float32Array => {
      const view = new Float32Array(buffer, offset, length);
      offset += view.byteLength;
      return view;
    };
    this.#plans = allPlaces(options.plan);
    this.#stride = strideOf(options);
    const { model: { vocabSize }, plan } = options;
    this.#mostPicked = pickedByCpuAtMost(vocabSize, plan);
    this.#terms = Array.from(
      { length: turns },
      () => Array.from({ length: sizes.terms }, () => next(sizes.term)),
    );
    this.#inputs = {
      attention: next(sizes.attention),
      ffn: next(sizes.ffn),
    };
    this.#squares = {
      "qk-squares": next(sizes.qkSquares),
      "head-squares": next(sizes.headSquares),
      "neuron-squares": next(sizes.neuronSquares),
    };
    const choices = next(sizes.choices);
    this.#choices = new Uint32Array(
      choices.buffer,
      choices.byteOffset,
      choices.length,
    );
    this.#residuals = Array.from(
      { length: turns },
      () => next(sizes.residual),
    );
    this.#neurons = next(sizes.neurons);
    this.#logits = next(sizes.logits);
    this.#states = next(sizes.states);
  }

  static byteLength(options: ExchangeOptions): number {
    const { term, terms, residual, ...others } = floatsOf(options);
    const first = turns * (terms * term + residual);
    return 4 * Object.values(others)
      .reduce((sum, floats) => sum + floats, first);
  }

  get cpuPlaces(): number {
    return this.options.plan.places.length;
  }

  /** The terms that CPU places computed in a stage, `[tokens, stride]` each. */
  terms(stage: Stage): readonly Float32Array[] {
    this.#renewRows();
    const known = this.#termRows.get(stage);
    if (known) return known;
    const { merges } = stage;
    const rows = this.#terms[turnOf(stage)]
      .slice(0, merges.length)
      .map((rows) => rows.subarray(0, this.#tokens * this.#stride));
    this.#termRows.set(stage, rows);
    return rows;
  }

  /** Forgets rows of batches of other lengths: one length mostly follows itself. */
  #renewRows(): void {
    const { length } = this.batch;
    if (this.#tokens === length) return;
    this.#tokens = length;
    this.#termRows.clear();
    this.#inputRows.clear();
  }

  /** Takes the terms that a CPU place computed in a stage, `[tokens]` of any stride. */
  putTerms(
    index: number,
    stage: Stage,
    terms: readonly Float32Array[],
  ): void {
    const all = this.terms(stage);
    const first = stage.firstTerms[index];
    const { outputs } = this.#plans[index];
    if (stage.between && outputs) {
      const { start, end } = outputs, { length } = this.batch;
      for (let t = 0; t < length; t++) {
        const row = t * terms[0].length / length;
        const columns = terms[0].subarray(row + start, row + end);
        all[first].set(columns, t * this.#stride + start);
      }
    } else terms.forEach((term, i) => this.#copy(term, all[first + i]));
  }

  /** What the heads, or neurons, of all places computed in a stage, `[tokens, width]`. */
  inputs({ kind }: Stage): Float32Array {
    this.#renewRows();
    const known = this.#inputRows.get(kind);
    if (known) return known;
    const all = this.#inputs[kind]!;
    const width = all.length / this.options.limits.tokens;
    const rows = all.subarray(0, width * this.#tokens);
    this.#inputRows.set(kind, rows);
    return rows;
  }

  /** Squares of what all places computed, `[tokens, stride]`. */
  squares(of: Squares): Float32Array {
    const rows = this.#squares[of];
    const width = rows.length / this.options.limits.tokens;
    return rows.subarray(0, width * this.batch.length);
  }

  /** Which experts the tokens chose, `[tokens][used]`: each one's number, and the bits of what it counts. */
  get choices(): Uint32Array {
    const { used = 0 } = this.options.model.routing ?? {};
    return this.#choices.subarray(0, 2 * used * this.batch.length);
  }

  /** The residual that one side has put before a stage, `[tokens, stride]`. */
  residual(stage: Stage): Float32Array {
    const { length } = this.batch;
    return this.#residuals[turnOf(stage)].subarray(0, length * this.#stride);
  }

  putResidual(stage: Stage, residual: Float32Array): void {
    this.#copy(residual, this.residual(stage));
  }

  /** Takes the values h of a place's neurons, `[tokens][neurons]`. */
  putNeurons(
    index: number,
    { layer }: Stage,
    rows: readonly Float32Array[],
  ): void {
    const { model } = this.options;
    const all = valuesOf(model, this.#plans, layer);
    const first = valuesOf(model, this.#plans.slice(0, index), layer);
    rows.forEach((h, t) => this.#neurons.set(h, t * all + first));
  }

  /** The largest |h| of each token of a stage that is dropped, by the values of all places. */
  topKThresholds({ layer }: Stage): Float32Array {
    const { model, sparsity } = this.options;
    const all = valuesOf(model, this.#plans, layer);
    return topKThresholds(
      this.batch,
      layer,
      sparsity,
      (t) => [this.#neurons.subarray(t * all, (t + 1) * all)],
      routedNeurons(model),
    );
  }

  /** Takes a place's columns of the logits, a row for each token that wants them; none of rows of which CPU places pick. */
  putLogits(index: number, rows: readonly Float32Array[]): void {
    const { vocab } = this.#plans[index];
    if (lengthOf(vocab) === 0) return;
    const { vocabSize } = this.options.model;
    this.batch.pickedOfRows.forEach((k, row) => {
      if (k > 0) return;
      this.#logits.set(rows[row], row * vocabSize + vocab.start);
    });
  }

  /** Says in the batch what CPU places pick of what could be picked; before a step. */
  begin(): void {
    const { batch: { picks, length } } = this;
    for (let t = 0; t < length; t++) {
      if (picks[t] > this.#mostPicked) picks[t] = 0;
    }
  }

  /** Takes a CPU place's first logits of each row, for {@linkcode leastPicked}. */
  putCandidates(index: number, rows: readonly Picked[]): void {
    this.batch.pickedOfRows.forEach((k, row) =>
      // A mask may leave fewer.
      this.#candidates(row, k, index, index + 1).fill(-Infinity)
        .set(rows[row].logits)
    );
  }

  /** Of each row, a logit that as many reach as are picked; -Infinity where none are. */
  leastPicked(): number[] {
    return this.batch.pickedOfRows.map((k, row) => {
      const all = this.#candidates(row, k, 0, this.cpuPlaces).slice().sort();
      // NaN comes last.
      return all.at(-1)! >= -Infinity ? all.at(-k)! : -Infinity;
    });
  }

  /** The first token whose logits a place has. */
  firstOf(index: number): number {
    return this.#plans[index].vocab.start;
  }

  /** Takes the largest of a CPU place's logits of each row. */
  putPicked(index: number, rows: readonly Picked[]): void {
    const { start } = this.#plans[index].vocab;
    this.batch.pickedOfRows.forEach((k, row) => {
      const { ids, logits } = rows[row];
      const own = this.#picked(row, k, index);
      // Where fewer may be among the largest, what fills up is not among them.
      own.logits.fill(-Infinity).set(logits);
      own.ids.fill(start).set(ids.map((id) => start + id));
    });
  }

  /** Takes the states of the tokens that want them. */
  putStates(rows: readonly Float32Array[]): void {
    rows.forEach((state, row) =>
      this.#states.set(state, row * this.options.model.hiddenSize)
    );
  }

  /** What each token gets that wants logits, or its state, in the batch's order. */
  resultRows(): Float32Array[] {
    const { wantLogits, wantStates, stateCount, length } = this.batch;
    const logits = this.#logitRows();
    if (stateCount === 0) return logits;
    const rows: Float32Array[] = [];
    for (let t = 0, row = 0, state = 0; t < length; t++) {
      if (wantLogits[t]) rows.push(logits[row++]);
      if (wantStates[t]) rows.push(this.#state(state++));
    }
    return rows;
  }

  #state(row: number): Float32Array {
    const { hiddenSize } = this.options.model;
    return this.#states.subarray(row * hiddenSize, (row + 1) * hiddenSize);
  }

  #logitRows(): Float32Array[] {
    const { batch, options: { model: { vocabSize }, plan } } = this;
    const width = resultLength(batch, vocabSize, plan.gpu?.vocab);
    const places = [...this.#plans.keys()].slice(0, this.cpuPlaces);
    return batch.pickedOfRows.map((k, row) => {
      if (k > 0) {
        return packTopLogits(places.map((i) => this.#picked(row, k, i)), k);
      }
      const start = row * vocabSize;
      return this.#logits.subarray(start, start + width);
    });
  }

  /** Where a CPU place puts the `k` logits that it picked of a row. */
  #picked(row: number, k: number, index: number): Picked {
    const start = row * this.options.model.vocabSize + 2 * k * index;
    const logits = this.#logits.subarray(start, start + k);
    const idsAt = logits.byteOffset + logits.byteLength;
    return { logits, ids: new Uint32Array(logits.buffer, idsAt, k) };
  }

  /** Where CPU places `first` to `end` - 1 put `k` candidates each of a row: behind what all pick. */
  #candidates(
    row: number,
    k: number,
    first: number,
    end: number,
  ): Float32Array {
    const start = row * this.options.model.vocabSize + 2 * k * this.cpuPlaces;
    return this.#logits.subarray(start + first * k, start + end * k);
  }

  #copy(from: Float32Array, to: Float32Array): void {
    const { batch, options: { model } } = this;
    copyRows(from, to, batch.length, model.hiddenSize);
  }
}

/** Attention stands between any two other stages that have terms, and residuals. */
function turnOf({ kind }: Stage): number {
  return kind === "attention" ? 1 : 0;
}

function strideOf({ model }: ExchangeOptions): number {
  return roundUp(model.hiddenSize, 8);
}

/** Values h of a token that some places give in a layer: of each expert that it chose, zeros where a place has others. */
function valuesOf(
  model: Model,
  places: readonly PlacePlan[],
  layer: number,
): number {
  const { used = 1 } = model.routing ?? {};
  return places.reduce(
    (sum, { parts }) =>
      sum + used * lengthOf(withinExpert(model, parts[layer].neurons)),
    0,
  );
}

/** Floats of each region, in whole cache lines; how many terms there are at most. */
function floatsOf(options: ExchangeOptions) {
  const { model, plan, limits: { tokens }, sparsity } = options;
  const schedule = scheduleOf(model, plan);
  const rows = (width: number) => tokens * roundUp(width, 16);
  const inputs = (kind: StageKind, width: number) =>
    schedule.some((stage) => stage.kind === kind && stage.between)
      ? rows(width)
      : 0;
  const squares = (of: Squares, width: number) =>
    schedule.some((stage) => stage.squares.includes(of)) ? rows(width) : 0;
  return {
    terms: Math.max(...schedule.map(({ merges }) => merges.length)),
    term: rows(strideOf(options)),
    attention: inputs("attention", model.headCount * model.headSize),
    ffn: inputs("ffn", expertSize(model)) * (model.routing?.used ?? 1),
    qkSquares: squares("qk-squares", model.headCount + model.kvHeadCount),
    headSquares: squares("head-squares", model.headCount),
    neuronSquares: squares("neuron-squares", model.feedForwardSize),
    choices: schedule.some(({ choices }) => choices)
      ? rows(2 * model.routing!.used)
      : 0,
    residual: rows(plan.gpu ? strideOf(options) : 0),
    neurons: rows(
      sparsity.mode === "top-k"
        ? Math.max(
          ...model.layers.map((_, i) => valuesOf(model, allPlaces(plan), i)),
        )
        : 0,
    ),
    logits: rows(model.vocabSize),
    states: rows(model.hiddenSize),
  };
}
