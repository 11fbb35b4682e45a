/**
 * What threads share: the batch, what they exchange, what they count, and the
 * words by which they wait for one another. One SharedArrayBuffer; everything is
 * laid out here.
 *
 * @module
 */
import type { Rates } from "../../plan/rates.ts";
import { allPlaces } from "../../plan/plan.ts";
import { Batch } from "../batch.ts";
import { ExchangeBuffers } from "../exchange_buffers.ts";
import { NeuronCounts } from "../neuron_counts.ts";
import { FfnInputs } from "../ffn_inputs.ts";
import { LayerCounts } from "../stats.ts";
import { type GpuCounts, noGpuCounts } from "../gpu_stats.ts";
import { Control } from "./control.ts";
import type { TeamOptions } from "../team.ts";

/** Rates that are measured anew. */
const rateNames = ["stream", "pick", "scatter"] as const;

const gpuCountNames = Object.keys(noGpuCounts) as (keyof GpuCounts)[];

/** The shared buffer's views; made anew in each thread over the same bytes. */
export class Shared {
  readonly control: Control;
  readonly batch: Batch;
  readonly counts: LayerCounts[];
  readonly neuronCounts?: NeuronCounts;
  readonly ffnInputs?: FfnInputs;
  readonly exchanged: ExchangeBuffers;
  /** `[places, rates]` */
  readonly #rates: Float64Array;
  /** KV pages that places are to have, and that each has, `[1 + places]` */
  readonly #pages: Int32Array;
  /** What the GPU's place has done, `[gpuCountNames]` */
  readonly #gpuCounts: Float64Array;

  /** Lays the views over `buffer`, which has `byteLength` bytes. */
  constructor(
    readonly options: TeamOptions,
    readonly buffer: SharedArrayBuffer,
  ) {
    const { model, plan, limits } = options;
    const sizes = layout(options);
    let offset = 0;
    const next = (bytes: number): number => {
      const at = offset;
      offset += roundUp(bytes, 64);
      return at;
    };
    const places = allPlaces(plan);
    this.control = new Control(
      buffer,
      next(sizes.control),
      plan.places.length,
      places.length,
    );
    this.counts = places.map(() =>
      new LayerCounts(model.layers.length, buffer, next(sizes.counts))
    );
    this.#rates = new Float64Array(
      buffer,
      next(sizes.rates),
      sizes.rates / 8,
    );
    this.#pages = new Int32Array(buffer, next(sizes.pages), sizes.pages / 4);
    this.#gpuCounts = new Float64Array(
      buffer,
      next(sizes.gpuCounts),
      gpuCountNames.length,
    );
    this.batch = new Batch(limits, buffer, next(sizes.batch));
    this.exchanged = new ExchangeBuffers(
      options,
      this.batch,
      buffer,
      next(sizes.exchanged),
    );
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

  static byteLength(options: TeamOptions): number {
    const { counts, ...sizes } = layout(options);
    return allPlaces(options.plan).length * roundUp(counts, 64) +
      Object.values(sizes).reduce((sum, size) => sum + roundUp(size, 64), 0);
  }

  putGpuCounts(counts: GpuCounts): void {
    gpuCountNames.forEach((name, i) => this.#gpuCounts[i] = counts[name]);
  }

  gpuCounts(): GpuCounts {
    return Object.fromEntries(
      gpuCountNames.map((name, i) => [name, this.#gpuCounts[i]]),
    ) as Record<keyof GpuCounts, number>;
  }

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

  get pagesWanted(): number {
    return this.#pages[0];
  }
  set pagesWanted(count: number) {
    this.#pages[0] = count;
  }

  putPages(index: number, count: number): void {
    this.#pages[1 + index] = count;
  }

  /** KV pages that all places have. */
  get pagesHeld(): number {
    return Math.min(...this.#pages.subarray(1));
  }
}

/** Bytes of each region; `counts` are for one place. */
function layout(options: TeamOptions) {
  const { model, plan, limits, countNeurons, keepFfnInputs } = options;
  return {
    control: Control.byteLength,
    counts: LayerCounts.byteLength(model.layers.length),
    exchanged: ExchangeBuffers.byteLength(options),
    rates: 8 * rateNames.length * plan.places.length,
    pages: 4 * (1 + allPlaces(plan).length),
    gpuCounts: 8 * gpuCountNames.length,
    batch: Batch.byteLength(limits),
    neuronCounts: countNeurons ? NeuronCounts.byteLength(model) : 0,
    ffnInputs: keepFfnInputs ? FfnInputs.byteLength(model, limits) : 0,
  };
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
