/**
 * What only a plan asks of a CPU place: how fast it adds up rows of down, and
 * reads keys and values.
 */
import type { Cpu } from "../../plan/machine.ts";
import { Batch } from "../batch.ts";
import type { CountName, LayerCounts } from "../stats.ts";

/** ms that each measure may take. */
const measureMs = 6;
/** Share of a layer's neurons that fire: about what does in the models at hand. */
const firingShare = 0.15;

/** A place, by what is measured. */
export interface PlanSubject {
  /** Layers that it has neurons and heads of */
  readonly layers: readonly number[];
  readonly counts: LayerCounts;
  reserve(pages: number): number;
  begin(batch: Batch): void;
  attention(layer: number, batch: Batch): void;
  /** Lets a share of a layer's neurons fire for one token, whatever they compute. */
  fire(layer: number, share: number): void;
  down(): void;
}

/** Measures a place whose sequences have `contextSize` positions, all of which are read. */
export function measureForPlan(
  place: PlanSubject,
  contextSize: number,
): Pick<Cpu, "sum" | "cache"> {
  const limits = { tokens: 1, contextSize };
  const batch = new Batch(limits, new ArrayBuffer(Batch.byteLength(limits)));
  batch.length = 1;
  batch.positions[0] = contextSize - 1;
  batch.pages.forEach((_, i) => batch.pages[i] = i);
  place.reserve(batch.pagesPerSequence);
  place.begin(batch);
  const sum = rateOf(
    place,
    "picked",
    (layer) => place.fire(layer, firingShare),
    () => place.down(),
  );
  const cache = rateOf(
    place,
    "streamed",
    () => {},
    (layer) => place.attention(layer, batch),
  );
  return { sum, cache };
}

/**
 * The median of the bytes a ms that `run` counts of layer after layer, time and
 * again; undefined where it counts none. The first time compiles what runs.
 */
function rateOf(
  { layers, counts }: PlanSubject,
  name: CountName,
  prepare: (layer: number) => void,
  run: (layer: number) => void,
): number | undefined {
  const rates: number[] = [];
  const start = performance.now();
  for (let round = 0; round < 2 || performance.now() - start < measureMs;) {
    if (round++ === 1) rates.length = 0;
    for (const layer of layers) {
      prepare(layer);
      const before = counts.get(layer, name);
      const from = performance.now();
      run(layer);
      const ms = performance.now() - from;
      const bytes = counts.get(layer, name) - before;
      if (bytes > 0) rates.push(bytes / Math.max(1e-3, ms));
    }
  }
  return rates.sort((a, b) => a - b)[rates.length >> 1];
}
