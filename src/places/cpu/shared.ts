/**
 * What threads share: the batch, the exchanged partials, the logits, and the
 * words by which they meet. One SharedArrayBuffer; everything is laid out here.
 *
 * @module
 */
import { PlaceError } from "../../errors.ts";
import { Batch } from "../batch.ts";
import { topKThreshold } from "../exchange.ts";
import { NeuronCounts } from "../neuron_counts.ts";
import { NormedStates } from "../normed_states.ts";
import type { Rates } from "../../plan/border.ts";
import type { Exchange, Place } from "../place.ts";
import { LayerCounts } from "../stats.ts";
import type { CpuTeamOptions } from "./messages.ts";
import { roundUp } from "./packing.ts";

/** Control words, a cache line each so that they do not slow one another. */
const word = {
  step: 0,
  done: 16,
  arrived: 32,
  meeting: 48,
  failed: 64,
  task: 80,
};
const controlBytes = 4 * 96;

/** What the places do in a step, by the number that stands in the word `task`. */
const tasks = ["forward", "measure"] as const;

/** A pass of the batch through the model, or measuring how fast rows are read. */
export type Task = typeof tasks[number];

/** Rates that are measured anew. */
const rateNames = ["stream", "pick", "scatter"] as const;

/** Loads before a thread that waits goes to sleep: some 0.2 ms, since waking takes 0.05. */
const spins = 200_000;

/** The shared buffer's views; made anew in each thread over the same bytes. */
export class Shared {
  readonly control: Int32Array;
  readonly batch: Batch;
  readonly counts: LayerCounts[];
  /** Counters of every neuron, where the options ask for them */
  readonly neuronCounts?: NeuronCounts;
  /** What the feed-forward layers read, where the options ask for it */
  readonly normedStates?: NormedStates;
  /** `[tokens, vocabSize]` */
  readonly #logits: Float32Array;
  /** `[2, places, tokens, stride]`: two, so that one meeting a sum is enough */
  readonly #partials: Float32Array;
  /** `[tokens, feedForwardSize]`, for top-k alone */
  readonly #neurons: Float32Array;
  /** `[places, rates]` */
  readonly #rates: Float64Array;
  readonly #stride: number;
  #turn = 0;

  /** Lays the views over `buffer`, which has `byteLength` bytes. */
  constructor(
    readonly options: CpuTeamOptions,
    readonly buffer: SharedArrayBuffer,
  ) {
    const { model, plan, limits } = options;
    const sizes = layout(options);
    this.#stride = sizes.stride;
    let offset = 0;
    const next = (bytes: number): number => {
      const at = offset;
      offset += roundUp(bytes, 64);
      return at;
    };
    const floats = (bytes: number) =>
      new Float32Array(buffer, next(bytes), bytes / 4);
    this.control = new Int32Array(
      buffer,
      next(sizes.control),
      sizes.control / 4,
    );
    this.counts = plan.places.map(() =>
      new LayerCounts(model.layers.length, buffer, next(sizes.counts))
    );
    this.#partials = floats(sizes.partials);
    this.#logits = floats(sizes.logits);
    this.#neurons = floats(sizes.neurons);
    this.#rates = new Float64Array(
      buffer,
      next(sizes.rates),
      sizes.rates / 8,
    );
    this.batch = new Batch(limits, buffer, next(sizes.batch));
    if (options.countNeurons) {
      this.neuronCounts = new NeuronCounts(
        model,
        buffer,
        next(sizes.neuronCounts),
      );
    }
    if (options.keepNormed) {
      this.normedStates = new NormedStates(
        model,
        limits,
        buffer,
        next(sizes.normedStates),
      );
    }
  }

  /** Bytes of the shared buffer. */
  static byteLength(options: CpuTeamOptions): number {
    const { stride: _, counts, ...sizes } = layout(options);
    return options.plan.places.length * roundUp(counts, 64) +
      Object.values(sizes).reduce((sum, size) => sum + roundUp(size, 64), 0);
  }

  /** Starts a step; called by the coordinator. */
  startStep(task: Task): number {
    Atomics.store(this.control, word.task, tasks.indexOf(task));
    const step = Atomics.add(this.control, word.step, 1) + 1;
    Atomics.notify(this.control, word.step);
    return step;
  }

  /** Resolves when the step is done, or when a place has failed. */
  async stepDone(step: number): Promise<void> {
    for (;;) {
      const seen = Atomics.load(this.control, word.done);
      if (seen === step || this.failed) return;
      const wait = Atomics.waitAsync(this.control, word.done, seen);
      if (wait.async) await wait.value;
    }
  }

  /** Blocks until a step after `last` starts; gives its number. */
  nextStep(last: number): number {
    this.#waitWhile(word.step, last);
    return Atomics.load(this.control, word.step);
  }

  /** What the places do in the step at hand. */
  get task(): Task {
    return tasks[Atomics.load(this.control, word.task)];
  }

  /** Takes the rates that a place measured, and returns when every place has. */
  putRates(index: number, rates: Rates): void {
    rateNames.forEach((name, i) =>
      this.#rates[index * rateNames.length + i] = rates[name]
    );
    this.#meet();
  }

  /** What a place measured last, where it had measured `before`. */
  ratesOf(index: number, before: Rates): Rates {
    const measured = rateNames.map((name, i) =>
      [name, this.#rates[index * rateNames.length + i]] as const
    );
    return { ...before, ...Object.fromEntries(measured) };
  }

  /** Says that a step is done; called by place 0. */
  finishStep(step: number): void {
    Atomics.store(this.control, word.done, step);
    Atomics.notify(this.control, word.done);
  }

  /** Whether a place has failed or the team was stopped. */
  get failed(): boolean {
    return Atomics.load(this.control, word.failed) !== 0;
  }

  /** Wakes every thread that waits, and lets none wait again. */
  fail(): void {
    Atomics.store(this.control, word.failed, 1);
    for (const index of [word.step, word.meeting, word.done]) {
      Atomics.add(this.control, index, 1);
      Atomics.notify(this.control, index);
    }
  }

  /** What this place does with the others where they meet. */
  exchange(kind: Exchange, place: Place, index: number, share: number): void {
    if (kind === "sum") this.#sum(place, index);
    else if (kind === "top-k") this.#keepTop(place, share);
    else this.#gatherLogits(place, index);
  }

  /** The logits rows of the step that is done. */
  logitRows(): Float32Array[] {
    const { vocabSize } = this.options.model;
    return Array.from(
      { length: this.batch.logitCount },
      (_, i) => this.#logits.subarray(i * vocabSize, (i + 1) * vocabSize),
    );
  }

  /** Each place adds the partials in the same order, so all residuals stay equal. */
  #sum(place: Place, index: number): void {
    const { batch } = this;
    const own = place.partial(batch);
    const places = this.options.plan.places.length;
    const slotLength = this.options.limits.tokens * this.#stride;
    const turn = this.#turn ^= 1;
    const slot = (i: number) => {
      const start = (turn * places + i) * slotLength;
      return this.#partials.subarray(start, start + own.length);
    };
    if (places > 1) slot(index).set(own);
    this.#meet();
    for (let i = 0; i < places; i++) {
      place.accumulate(i === index ? own : slot(i), batch);
    }
  }

  #keepTop(place: Place, share: number): void {
    const { batch } = this;
    const width = this.options.model.feedForwardSize;
    const { first, rows } = place.neurons(batch);
    rows.forEach((h, t) => this.#neurons.set(h, t * width + first));
    this.#meet();
    const thresholds = Float32Array.from(
      { length: batch.length },
      (_, t) =>
        topKThreshold(
          [this.#neurons.subarray(t * width, (t + 1) * width)],
          share,
        ),
    );
    place.keepAbove(batch, thresholds);
  }

  #gatherLogits(place: Place, index: number): void {
    const { start } = this.options.plan.places[index].vocab;
    place.logits(this.batch).forEach((columns, row) =>
      this.#logits.set(columns, row * this.options.model.vocabSize + start)
    );
    this.#meet();
  }

  /** Returns when every place has called it. */
  #meet(): void {
    const { control } = this;
    const places = this.options.plan.places.length;
    const meeting = Atomics.load(control, word.meeting);
    if (Atomics.add(control, word.arrived, 1) === places - 1) {
      Atomics.store(control, word.arrived, 0);
      Atomics.add(control, word.meeting, 1);
      Atomics.notify(control, word.meeting);
    } else {
      this.#waitWhile(word.meeting, meeting);
    }
  }

  #waitWhile(index: number, value: number): void {
    const { control } = this;
    for (let i = 0; Atomics.load(control, index) === value; i++) {
      if (i > spins) Atomics.wait(control, index, value);
    }
    if (this.failed) throw new PlaceError("Stopped: another place failed");
  }
}

/** Bytes of each region; `stride` is in floats, `counts` are for one place. */
function layout(options: CpuTeamOptions) {
  const { model, plan, limits, sparsity, countNeurons, keepNormed } = options;
  const { tokens } = limits;
  const stride = roundUp(model.hiddenSize, 8);
  const topK = sparsity.mode === "top-k";
  return {
    stride,
    control: controlBytes,
    counts: LayerCounts.byteLength(model.layers.length),
    partials: 4 * 2 * plan.places.length * tokens * stride,
    logits: 4 * tokens * model.vocabSize,
    neurons: topK ? 4 * tokens * model.feedForwardSize : 0,
    rates: 8 * rateNames.length * plan.places.length,
    batch: Batch.byteLength(limits),
    neuronCounts: countNeurons ? NeuronCounts.byteLength(model) : 0,
    normedStates: keepNormed ? NormedStates.byteLength(model, limits) : 0,
  };
}
