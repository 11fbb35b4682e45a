/**
 * What threads share: the batch, what they exchange, what they count, and the
 * words by which they wait for one another. One SharedArrayBuffer; everything is
 * laid out here.
 */
import { roundUp } from "../../kernels/packing.ts";
import type { Rates } from "../../plan/machine.ts";
import { allPlaces, type Plan, readsFile } from "../../plan/plan.ts";
import { Batch, pagePositions } from "../batch.ts";
import { ExchangeBuffers } from "../exchange_buffers.ts";
import { NeuronCounts } from "../neuron_counts.ts";
import { FfnInputs } from "../ffn_inputs.ts";
import { kvLayerBytes } from "../kv_rows.ts";
import { ScoreCounts } from "../score_counts.ts";
import { LayerCounts } from "../stats.ts";
import { type GpuCounts, noGpuCounts } from "../gpu_stats.ts";
import { Control } from "./control.ts";
import type { TeamOptions } from "../team.ts";
import { ReadQueue } from "./read_queue.ts";

/** Rates that are measured anew. */
const rateNames = ["stream", "pick", "tiles", "scatter"] as const;

const gpuCountNames = Object.keys(noGpuCounts) as (keyof GpuCounts)[];

/** The shared buffer's views; made anew in each thread over the same bytes. */
export class Shared {
  readonly control: Control;
  readonly batch: Batch;
  readonly counts: LayerCounts[];
  readonly neuronCounts: NeuronCounts;
  readonly ffnInputs?: FfnInputs;
  readonly scores?: ScoreCounts;
  /** By CPU place, what of the file is to be read ahead */
  readonly readQueues: readonly ReadQueue[];
  readonly exchanged: ExchangeBuffers;
  /** `[places, rates]` */
  readonly #rates: Float64Array;
  /** KV pages that places are to have, and that each has, `[1 + places]` */
  readonly #pages: Int32Array;
  /** The layer and the page whose keys and values are moved */
  readonly #moved: Int32Array;
  /** These, as `kv_rows.ts` has them */
  readonly rows: Uint8Array;
  /** What the GPU's place has done, `[gpuCountNames]` */
  readonly #gpuCounts: Float64Array;

  /** Lays the views over `buffer`, which has `byteLength` bytes. */
  constructor(
    readonly options: TeamOptions,
    readonly buffer: SharedArrayBuffer,
  ) {
    const { model, plan, limits } = options;
    const { at, countBytes } = layout(options);
    const places = allPlaces(plan).length, cpuPlaces = plan.places.length;
    this.control = new Control(buffer, at.control, cpuPlaces, places);
    this.counts = Array.from({ length: places }, (_, i) => {
      const offset = at.counts + i * countBytes;
      return new LayerCounts(model.layers.length, buffer, offset);
    });
    const rates = rateNames.length * cpuPlaces;
    this.#rates = new Float64Array(buffer, at.rates, rates);
    this.#pages = new Int32Array(buffer, at.pages, 1 + places);
    this.#moved = new Int32Array(buffer, at.moved, 2);
    this.rows = new Uint8Array(buffer, at.rows, pageBytes(options));
    const { length } = gpuCountNames;
    this.#gpuCounts = new Float64Array(buffer, at.gpuCounts, length);
    this.batch = new Batch(limits, model, buffer, at.batch);
    const { batch } = this;
    this.exchanged = new ExchangeBuffers(options, batch, buffer, at.exchanged);
    this.neuronCounts = new NeuronCounts(model, buffer, at.neuronCounts);
    this.readQueues = Array.from(
      { length: queueCount(plan) },
      (_, i) => new ReadQueue(buffer, at.readQueues + i * ReadQueue.byteLength),
    );
    if (options.countNeurons) this.neuronCounts.countAll();
    if (options.keepFfnInputs) {
      this.ffnInputs = new FfnInputs(model, limits, buffer, at.ffnInputs);
    }
    if (options.measureRecall) {
      this.scores = new ScoreCounts(model.layers.length, buffer, at.scores);
    }
  }

  static byteLength(options: TeamOptions): number {
    return layout(options).bytes;
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

  /** The layer and the page whose keys and values are moved. */
  get moved(): readonly [layer: number, page: number] {
    return [this.#moved[0], this.#moved[1]];
  }
  set moved(moved: readonly [layer: number, page: number]) {
    this.#moved.set(moved);
  }

  get pagesHeld(): number {
    return Math.min(...this.#pages.subarray(1));
  }
}

/** A queue for each CPU place, where some of its weights are read while it runs. */
function queueCount({ places }: Plan): number {
  return places.some(readsFile) ? places.length : 0;
}

/** Bytes of a layer's rows of a page. */
function pageBytes({ model, cacheType }: TeamOptions): number {
  return pagePositions * kvLayerBytes({ ...model, cacheType });
}

/** Where each region begins, on cache lines of its own; bytes of one place's counts, and of all. */
function layout(options: TeamOptions) {
  const { model, plan, limits, keepFfnInputs, measureRecall } = options;
  const places = allPlaces(plan).length, layers = model.layers.length;
  const countBytes = roundUp(LayerCounts.byteLength(layers), 64);
  let bytes = 0;
  const next = (size: number): number => {
    const start = bytes;
    bytes += roundUp(size, 64);
    return start;
  };
  const at = {
    control: next(Control.byteLength),
    counts: next(countBytes * places),
    exchanged: next(ExchangeBuffers.byteLength(options)),
    rates: next(8 * rateNames.length * plan.places.length),
    pages: next(4 * (1 + places)),
    moved: next(8),
    rows: next(pageBytes(options)),
    gpuCounts: next(8 * gpuCountNames.length),
    batch: next(Batch.byteLength(limits, model)),
    neuronCounts: next(NeuronCounts.byteLength(model)),
    readQueues: next(queueCount(plan) * ReadQueue.byteLength),
    ffnInputs: next(keepFfnInputs ? FfnInputs.byteLength(model, limits) : 0),
    scores: next(measureRecall ? ScoreCounts.byteLength(layers) : 0),
  };
  return { at, countBytes, bytes };
}
