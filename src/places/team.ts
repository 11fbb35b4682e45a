/**
 * Places that run steps together: what they are made from, and what the engine
 * talks to.
 */
import type { Plan } from "../plan/plan.ts";
import type { Rates } from "../plan/machine.ts";
import { type Batch, pagePositions } from "./batch.ts";
import type { CpuPlaceOptions } from "./cpu/options.ts";
import type { ExchangeOptions } from "./exchange_buffers.ts";
import type { FfnInputs } from "./ffn_inputs.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import type { NeuronCounts } from "./neuron_counts.ts";
import { kvLayerBytes } from "./kv_rows.ts";
import type { ScoreCounts } from "./score_counts.ts";
import type { LayerCounts } from "./stats.ts";
import type { OnTrace } from "./trace.ts";

/** What all places of a team have in common. */
export interface TeamOptions extends Omit<CpuPlaceOptions, "plan"> {
  readonly plan: Plan;
  /** Count how often each neuron fires from the start; otherwise only while somebody watches. */
  readonly countNeurons?: boolean;
  /** Keep what the feed-forward layers of a step read. */
  readonly keepFfnInputs?: boolean;
  /** Bytes that the GPU's place may take, at most. */
  readonly gpuBytes?: number;
}

/** Runs one step at a time. */
export interface Team extends AsyncDisposable {
  /** What computes, for people: `WASM relaxed SIMD, 2 threads`. */
  readonly description: string;
  readonly options: ExchangeOptions;
  /** Fill this in, then {@linkcode run}. */
  readonly batch: Batch;
  readonly weightBytes: number;
  readonly counts: readonly LayerCounts[];
  /** Counters of every neuron that a CPU place has. */
  readonly neuronCounts?: NeuronCounts;
  /** What the feed-forward layers of the last step read, where the options require it. */
  readonly ffnInputs?: FfnInputs;
  /** How predictors score the neurons that fire, while recall is measured. */
  readonly scores?: ScoreCounts;
  /** How fast each place reads its rows, where it has measured that. */
  readonly rates: readonly Rates[];
  /** How a GPU takes part, where one does. */
  readonly gpu?: MeasuredGpu;
  /**
   * Makes KV pages in every place until there are so many, as far as there is
   * memory. Gives how many all of them have.
   *
   * @throws {PlaceError} where a place died
   */
  reserve(pages: number): Promise<number>;
  /**
   * Keys and values of the first `positions` of a page, as `kv_rows.ts` has
   * them, a layer behind another.
   *
   * @throws {PlaceError} where a place died
   */
  readPage(page: number, positions: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Has every place take such keys and values into a page that it has reserved.
   *
   * @throws {PlaceError} where a place died
   */
  writePage(page: number, rows: Uint8Array): Promise<void>;
  /**
   * Runs the batch. Gives a row of logits, `[vocabSize]`, for each token that
   * wants one, in the batch's order; valid until the next run. Where the batch
   * wants the largest alone, and a GPU can pick them, rows are shorter and are
   * what `unpackTopLogits` reads. `onTrace` is given what the places did when.
   *
   * @throws {PlaceError} where a place died
   */
  run(onTrace?: OnTrace): Promise<Float32Array[]>;
  /** How many ms its threads have slept while they waited for one another, since this was called last. */
  takeLostMs?(): number;
  /**
   * Measures the rates anew, by all places at once, between two runs.
   *
   * @throws {PlaceError} where a place died
   */
  measureRates(): Promise<readonly Rates[]>;
}

/** Has `read` fill the rows of each layer's page, and gives those of the first `positions`. */
export async function readLayers(
  { model, cacheType }: ExchangeOptions,
  positions: number,
  read: (layer: number, rows: Uint8Array) => Promise<void>,
  rows: Uint8Array = layerPage({ model, cacheType }),
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = positions * rows.length / pagePositions;
  const all = new Uint8Array(bytes * model.layers.length);
  for (let layer = 0; layer < model.layers.length; layer++) {
    await read(layer, rows);
    all.set(rows.subarray(0, bytes), layer * bytes);
  }
  return all;
}

/** Has `write` take the rows of each layer's page. */
export async function writeLayers(
  { model, cacheType }: ExchangeOptions,
  all: Uint8Array,
  write: (layer: number, rows: Uint8Array) => Promise<void>,
  rows: Uint8Array = layerPage({ model, cacheType }),
): Promise<void> {
  const bytes = all.length / model.layers.length;
  for (let layer = 0; layer < model.layers.length; layer++) {
    rows.set(all.subarray(layer * bytes, (layer + 1) * bytes));
    await write(layer, rows);
  }
}

function layerPage(
  { model, cacheType }: Pick<ExchangeOptions, "model" | "cacheType">,
): Uint8Array {
  return new Uint8Array(pagePositions * kvLayerBytes({ ...model, cacheType }));
}
