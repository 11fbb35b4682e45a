/**
 * A place in a worker: loads its share by requests, then runs steps over shared
 * memory until the team stops.
 *
 * @module
 */
import type { Emit } from "../../platform/rpc_server.ts";
import type { Rates } from "../../plan/rates.ts";
import { allShards, type Rows, type Shard } from "../../model/shard.ts";
import type { MeasuredGpu } from "../gpu_stats.ts";
import type { TeamOptions } from "../team_options.ts";
import type { Lane } from "../trace.ts";
import { CpuPlace } from "../cpu/cpu_place.ts";
import { CpuWorkerLoop } from "./cpu_worker_loop.ts";
import { GpuWorkerLoop } from "./gpu_worker_loop.ts";
import { Shared } from "./shared.ts";
import type { WorkerLoop } from "./worker_loop.ts";

/** What a place tells when it is ready for steps. */
export interface ReadyPlace {
  readonly rates?: Rates;
  readonly gpu?: MeasuredGpu;
}

/** Requested in this order: `start`, any `write`, `ready`, `setHotRows` of CPU places, `runSteps`. */
export class PlaceService {
  #shared!: Shared;
  #loop!: WorkerLoop;
  #shards!: readonly Shard[];

  /** `emit` is given the lanes of each step that is traced. */
  constructor(readonly emit: Emit<readonly Lane[]>) {}

  /** Makes room for the weights of place `index`, the GPU's after the CPU's; gives their bytes. */
  async start(
    index: number,
    module: WebAssembly.Module,
    shared: SharedArrayBuffer,
    options: TeamOptions,
  ): Promise<number> {
    this.#shared = new Shared(options, shared);
    this.#loop = index < options.plan.places.length
      ? new CpuWorkerLoop(module, options, this.#shared, index)
      : await GpuWorkerLoop.open(options, this.#shared, index);
    const { shards, weightBytes } = this.#loop.place;
    this.#shards = [...allShards(shards)];
    return weightBytes;
  }

  /** Takes rows of a shard; gives their buffer back, to be read into again. */
  write(shard: number, rows: Rows): ArrayBuffer {
    this.#loop.place.write(this.#shards[shard], rows);
    return rows.bytes.buffer;
  }

  /** Call when every shard is written. */
  async ready(): Promise<ReadyPlace> {
    const { place } = this.#loop;
    await place.ready();
    if (place instanceof CpuPlace) return { rates: place.rates };
    await place.measure();
    return { gpu: place.stats };
  }

  /** See {@linkcode CpuPlace.setHotRows}. */
  setHotRows(hotRows: readonly number[]): void {
    (this.#loop.place as CpuPlace).setHotRows(hotRows);
  }

  /** Runs steps until the team is stopped; stops the others where this place fails. */
  async runSteps(): Promise<void> {
    const { control } = this.#shared;
    try {
      await this.#loop.runSteps(this.emit);
    } catch (error) {
      if (control.failed) return self.close();
      control.fail();
      throw error;
    }
  }
}
