/**
 * What threads share: the batch, the exchanged partials, the logits, and the
 * words by which they meet. One SharedArrayBuffer; everything is laid out here.
 *
 * @module
 */
import type { Rates } from "../../plan/rates.ts";
import { lengthOf } from "../../model/index_set.ts";
import { allPlaces, type PlacePlan } from "../../plan/plan.ts";
import type { Stage } from "../../plan/schedule.ts";
import { Batch, copyRows } from "../batch.ts";
import { sumOf, topKThresholds } from "../exchange.ts";
import { NeuronCounts } from "../neuron_counts.ts";
import { FfnInputs } from "../ffn_inputs.ts";
import type { CpuSidePlace, GpuSidePlace, Meeting } from "../place.ts";
import { LayerCounts } from "../stats.ts";
import { resultLength } from "../top_row.ts";
import { gpuCountNames, type GpuCounts } from "../gpu_use.ts";
import { Control } from "./control.ts";
import type { TeamOptions } from "../team_options.ts";

/** Rates that are measured anew. */
const rateNames = ["stream", "pick", "scatter"] as const;

/** The shared buffer's views; made anew in each thread over the same bytes. */
export class Shared {
  readonly control: Control;
  readonly batch: Batch;
  readonly counts: LayerCounts[];
  /** Counters of every neuron, where the options ask for them */
  readonly neuronCounts?: NeuronCounts;
  /** What the feed-forward layers read, where the options ask for it */
  readonly ffnInputs?: FfnInputs;
  /** `[tokens, vocabSize]` */
  readonly #logits: Float32Array;
  /** `[2, places, tokens, stride]`: two, so that one meeting a sum is enough */
  readonly #partials: Float32Array;
  /** `[tokens, stride]`: the residual that one side hands to the other */
  readonly #residual: Float32Array;
  /** `[tokens, feedForwardSize]`, for top-k alone: one place's neurons after another's */
  readonly #neurons: Float32Array;
  /** `[places, rates]` */
  readonly #rates: Float64Array;
  /** What the GPU's place has done, `[gpuCountNames]` */
  readonly #gpuCounts: Float64Array;
  readonly #stride: number;
  /** The places, the GPU's last */
  readonly #plans: readonly PlacePlan[];
  #turn = 0;

  /** Lays the views over `buffer`, which has `byteLength` bytes. */
  constructor(
    readonly options: TeamOptions,
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
    this.#plans = allPlaces(plan);
    this.control = new Control(
      buffer,
      next(sizes.control),
      plan.places.length,
      this.#plans.length,
    );
    this.counts = this.#plans.map(() =>
      new LayerCounts(model.layers.length, buffer, next(sizes.counts))
    );
    this.#partials = floats(sizes.partials);
    this.#logits = floats(sizes.logits);
    this.#residual = floats(sizes.residual);
    this.#neurons = floats(sizes.neurons);
    this.#rates = new Float64Array(
      buffer,
      next(sizes.rates),
      sizes.rates / 8,
    );
    this.#gpuCounts = new Float64Array(
      buffer,
      next(sizes.gpuCounts),
      gpuCountNames.length,
    );
    this.batch = new Batch(limits, buffer, next(sizes.batch));
    if (options.countNeurons) {
      this.neuronCounts = new NeuronCounts(
        model,
        buffer,
        next(sizes.neuronCounts),
      );
    }
    if (options.keepFfnInputs) {
      this.ffnInputs = new FfnInputs(
        model,
        limits,
        buffer,
        next(sizes.ffnInputs),
      );
    }
  }

  /** Bytes of the shared buffer. */
  static byteLength(options: TeamOptions): number {
    const { stride: _, counts, ...sizes } = layout(options);
    return allPlaces(options.plan).length * roundUp(counts, 64) +
      Object.values(sizes).reduce((sum, size) => sum + roundUp(size, 64), 0);
  }

  /** Takes what the GPU's place has done so far. */
  putGpuCounts(counts: GpuCounts): void {
    gpuCountNames.forEach((name, i) => this.#gpuCounts[i] = counts[name]);
  }

  /** What the GPU's place has done so far. */
  gpuCounts(): GpuCounts {
    return Object.fromEntries(
      gpuCountNames.map((name, i) => [name, this.#gpuCounts[i]]),
    ) as Record<keyof GpuCounts, number>;
  }

  /** Takes the rates that a place measured. */
  putRates(index: number, rates: Rates): void {
    rateNames.forEach((name, i) =>
      this.#rates[index * rateNames.length + i] = rates[name]
    );
  }

  /** What a place measured last, where it had measured `before`. */
  ratesOf(index: number, before: Rates): Rates {
    const measured = rateNames.map((name, i) =>
      [name, this.#rates[index * rateNames.length + i]] as const
    );
    return { ...before, ...Object.fromEntries(measured) };
  }

  /** What a CPU place does where the places meet. */
  meet(
    { exchange, stage }: Meeting,
    place: CpuSidePlace,
    index: number,
  ): void {
    const { batch } = this;
    switch (exchange) {
      case "sum":
        return this.#sum(place, index);
      case "sum-to-gpu":
        this.#turn ^= 1;
        this.#slot(index).set(place.partial(batch));
        return this.control.meetAll();
      case "residual-to-gpu":
        if (index === 0) this.#residual.set(place.residual(batch));
        return this.control.meetAll();
      case "residual-to-cpu":
        this.control.meetAll();
        return place.setResidual(this.#residualRows(), batch);
      case "top-k": {
        if (!stage.sides.includes("cpu")) return;
        this.#putNeurons(place.neurons(batch), stage, index);
        if (stage.sides.includes("gpu")) this.control.meetAll();
        else this.control.meetCpu();
        return place.keepAbove(batch, this.#topThresholds());
      }
      case "logits":
        this.#putLogits(place.logits(batch), index);
    }
  }

  /** What the GPU's thread does where the places meet. */
  async meetFromGpu(
    { exchange, stage }: Meeting,
    place: GpuSidePlace,
  ): Promise<void> {
    const { batch } = this;
    const index = this.options.plan.places.length;
    switch (exchange) {
      case "sum":
        this.#turn ^= 1;
        return;
      case "sum-to-gpu": {
        this.#turn ^= 1;
        place.submit();
        this.control.meetAll();
        const slots = this.options.plan.places.map((_, i) => this.#slot(i));
        return place.addToResidual(sumOf(slots), batch);
      }
      case "residual-to-gpu":
        this.control.meetAll();
        return place.setResidual(this.#residualRows(), batch);
      case "residual-to-cpu": {
        const residual = await place.residual(batch);
        const { hiddenSize } = this.options.model;
        copyRows(residual, this.#residualRows(), batch.length, hiddenSize);
        return this.control.meetAll();
      }
      case "top-k": {
        if (!stage.sides.includes("gpu")) return;
        this.#putNeurons(await place.neurons(batch), stage, index);
        if (stage.sides.includes("cpu")) this.control.meetAll();
        return place.keepAbove(batch, this.#topThresholds());
      }
      case "logits":
        this.#putLogits(await place.logits(batch), index);
    }
  }

  /** The rows of results of the step that is done. */
  logitRows(): Float32Array[] {
    const { batch } = this;
    const { model: { vocabSize }, plan } = this.options;
    const length = resultLength(batch, vocabSize, plan.gpu?.vocab);
    return Array.from({ length: batch.logitCount }, (_, i) => {
      const start = i * vocabSize;
      return this.#logits.subarray(start, start + length);
    });
  }

  /** Each place adds the partials in the same order, so all residuals stay equal. */
  #sum(place: CpuSidePlace, index: number): void {
    const { batch } = this;
    const own = place.partial(batch);
    const places = this.options.plan.places.length;
    this.#turn ^= 1;
    if (places > 1) this.#slot(index).set(own);
    this.control.meetCpu();
    for (let i = 0; i < places; i++) {
      place.accumulate(i === index ? own : this.#slot(i), batch);
    }
  }

  /** Where a CPU place's partial goes in this turn. */
  #slot(index: number): Float32Array {
    const { plan, limits } = this.options;
    const slot = this.#turn * plan.places.length + index;
    const start = slot * limits.tokens * this.#stride;
    return this.#partials.subarray(
      start,
      start + this.batch.length * this.#stride,
    );
  }

  #residualRows(): Float32Array {
    return this.#residual.subarray(0, this.batch.length * this.#stride);
  }

  #putNeurons(
    rows: readonly Float32Array[],
    { layer }: Stage,
    index: number,
  ): void {
    const first = this.#plans.slice(0, index).reduce(
      (sum, { parts }) => sum + lengthOf(parts[layer].neurons),
      0,
    );
    const width = this.options.model.feedForwardSize;
    rows.forEach((h, t) => this.#neurons.set(h, t * width + first));
  }

  #topThresholds(): Float32Array {
    const { model: { feedForwardSize: width }, sparsity } = this.options;
    return topKThresholds(
      this.batch,
      sparsity,
      (t) => [this.#neurons.subarray(t * width, (t + 1) * width)],
    );
  }

  #putLogits(rows: readonly Float32Array[], index: number): void {
    const { vocab } = this.#plans[index];
    if (lengthOf(vocab) === 0) return;
    const { vocabSize } = this.options.model;
    rows.forEach((columns, row) =>
      this.#logits.set(columns, row * vocabSize + vocab.start)
    );
  }
}

/** Bytes of each region; `stride` is in floats, `counts` are for one place. */
function layout(options: TeamOptions) {
  const { model, plan, limits, sparsity, countNeurons, keepFfnInputs } =
    options;
  const { tokens } = limits;
  const stride = roundUp(model.hiddenSize, 8);
  const topK = sparsity.mode === "top-k";
  return {
    stride,
    control: Control.byteLength,
    counts: LayerCounts.byteLength(model.layers.length),
    partials: 4 * 2 * plan.places.length * tokens * stride,
    logits: 4 * tokens * model.vocabSize,
    residual: plan.gpu ? 4 * tokens * stride : 0,
    neurons: topK ? 4 * tokens * model.feedForwardSize : 0,
    rates: 8 * rateNames.length * plan.places.length,
    gpuCounts: 8 * gpuCountNames.length,
    batch: Batch.byteLength(limits),
    neuronCounts: countNeurons ? NeuronCounts.byteLength(model) : 0,
    ffnInputs: keepFfnInputs ? FfnInputs.byteLength(model, limits) : 0,
  };
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
