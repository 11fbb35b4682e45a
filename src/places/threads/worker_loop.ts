/**
 * What runs in a place's worker.
 *
 * @module
 */
import type { PlaceShards, Rows, Shard } from "../../model/shard.ts";
import type { Rates } from "../../plan/rates.ts";
import type { MeasuredGpu } from "../gpu_stats.ts";
import type { OnTrace } from "../trace.ts";

/** A place, and the loop that runs its steps. */
export interface WorkerLoop {
  readonly weightBytes: number;
  readonly shards: PlaceShards;
  readonly rates?: Rates;
  readonly gpu?: MeasuredGpu;
  /** Takes rows of one of its shards. */
  write(shard: Shard, rows: Rows): void;
  /** Call when every shard is written. */
  ready(): void | Promise<void>;
  /** Gives `onTrace` what traced steps recorded. Returns, or throws, when the team is stopped. */
  runSteps(onTrace: OnTrace): void | Promise<void>;
}
