/**
 * A place in a worker: loads its share by messages, then runs steps over
 * shared memory until the team stops. Bundled into `worker.bundle.js`, which
 * is started as text so that no permission is needed.
 *
 * @module
 */
import type { Rates } from "../../plan/rates.ts";
import {
  allShards,
  type PlaceShards,
  type Rows,
  type Shard,
} from "../../model/shard.ts";
import { CpuResident } from "./cpu_resident.ts";
import { GpuResident } from "./gpu_resident.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { MeasuredGpu } from "../gpu_use.ts";
import type { OnTrace } from "../trace.ts";
import { Shared } from "./shared.ts";

/** What lives in a worker: a place, and the loop that runs its steps. */
export interface Resident {
  readonly weightBytes: number;
  readonly shards: PlaceShards;
  readonly rates?: Rates;
  readonly gpu?: MeasuredGpu;
  write(shard: Shard, rows: Rows): void;
  ready(): void | Promise<void>;
  /** Hands over what traced steps took down. Returns, or throws, when the team is stopped. */
  runSteps(onTrace: OnTrace): void | Promise<void>;
}

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  close(): void;
}

const scope = self as unknown as WorkerScope;
let shared: Shared;
let resident: Resident;
let shards: Shard[];

scope.onmessage = async ({ data }) => {
  try {
    await answer(data);
  } catch (error) {
    const { name, message } = error as Error;
    scope.postMessage({ kind: "error", name, message });
  }
};

async function answer(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "start": {
      const { index, options, module } = message;
      shared = new Shared(options, message.shared);
      resident = index < options.plan.places.length
        ? new CpuResident(module, options, shared, index)
        : await GpuResident.open(options, shared, index);
      shards = [...allShards(resident.shards)];
      const { weightBytes } = resident;
      scope.postMessage({ kind: "ready", weightBytes });
      break;
    }
    case "rows": {
      resident.write(shards[message.shard], message.rows);
      const spare = message.rows.bytes.buffer;
      scope.postMessage({ kind: "written", spare }, [spare]);
      break;
    }
    case "run":
      await resident.ready();
      scope.postMessage({
        kind: "running",
        rates: resident.rates,
        gpu: resident.gpu,
      });
      await run();
  }
}

/** Runs steps until the team is stopped; tells the others if this place fails. */
async function run(): Promise<void> {
  try {
    await resident.runSteps((lanes) =>
      scope.postMessage({ kind: "traced", lanes })
    );
  } catch (error) {
    if (shared.control.failed) return scope.close();
    shared.control.fail();
    throw error;
  }
}
