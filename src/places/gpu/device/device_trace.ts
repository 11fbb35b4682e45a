/** When the device ran which pass, by timestamps that it writes itself. */
import { type Activity, now, type TraceEvent } from "../../trace.ts";
import type { Device } from "./device.ts";

/** Timestamps of a query set, at most. */
const mostTimestamps = 4096;
const timestampBytes = 8;

export class DeviceTrace {
  readonly #queries: GPUQuerySet;
  readonly #passes: Pick<TraceEvent, "activity" | "layer">[] = [];
  /** Passes that had ended at a time of the host */
  readonly #seen: { passes: number; time: number }[] = [];
  #activity: Activity = "embed";
  #layer?: number;

  constructor(readonly device: Device) {
    this.#queries = device.gpu.createQuerySet({
      type: "timestamp",
      count: mostTimestamps,
    });
  }

  /** Labels the passes from here on; returns whether the label changes. */
  mark(activity: Activity, layer?: number): boolean {
    const changes = activity !== this.#activity || layer !== this.#layer;
    this.#activity = activity;
    this.#layer = layer;
    return changes;
  }

  nextPass(): GPUComputePassDescriptor {
    const first = 2 * this.#passes.length;
    if (first + 2 > mostTimestamps) return {};
    this.#passes.push({ activity: this.#activity, layer: this.#layer });
    return {
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: first,
        endOfPassWriteIndex: first + 1,
      },
    };
  }

  /** Records that all passes so far have ended. */
  ended(): void {
    const passes = this.#passes.length;
    if (passes > 0) this.#seen.push({ passes, time: now() });
  }

  /**
   * What the device did; call when the step is done.
   *
   * @throws {GpuError} where the device has failed
   */
  async events(): Promise<TraceEvent[]> {
    if (this.#seen.length === 0) return [];
    const times = await this.#timestamps();
    this.#queries.destroy();
    const toHost = this.#clock(times);
    let last = 0;
    return this.#passes.map((pass, i) => {
      // Passes follow one another; their timestamps may be some ticks off.
      const start = Math.max(last, toHost(times[2 * i]));
      const end = last = Math.max(start, toHost(times[2 * i + 1]));
      return { ...pass, start, end };
    });
  }

  /**
   * From the device's ticks to the host's time. A pass has ended before the host
   * sees it, so the latest clock that contradicts no such time is the nearest.
   * Ticks are nanoseconds, or as long as the first and last ends seen imply.
   */
  #clock(times: readonly number[]): (ticks: number) => number {
    const ends = this.#seen.map(({ passes, time }) => ({
      ticks: times[2 * passes - 1],
      time,
    }));
    const first = ends[0], last = ends[ends.length - 1];
    const measured = (last.time - first.time) / (last.ticks - first.ticks);
    const msPerTick = Number.isFinite(measured) && measured > 0
      ? measured
      : 1e-6;
    const offset = Math.min(
      ...ends.map(({ ticks, time }) => time - msPerTick * ticks),
    );
    return (ticks) => offset + msPerTick * ticks;
  }

  /** Ticks since the first. */
  async #timestamps(): Promise<number[]> {
    const { gpu } = this.device;
    const count = 2 * this.#passes.length;
    const size = count * timestampBytes;
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const resolved = gpu.createBuffer({
      size,
      usage: QUERY_RESOLVE | COPY_SRC,
    });
    const staging = gpu.createBuffer({ size, usage: COPY_DST | MAP_READ });
    const encoder = gpu.createCommandEncoder();
    encoder.resolveQuerySet(this.#queries, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ).catch(({ message }) => {
      throw this.device.failed(`its timestamps cannot be read (${message})`);
    });
    const ticks = [...new BigUint64Array(staging.getMappedRange())];
    resolved.destroy();
    staging.destroy();
    return ticks.map((tick) => Number(tick - ticks[0]));
  }
}
