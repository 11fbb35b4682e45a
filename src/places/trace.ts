/**
 * When each place did what in a step, for those who want to see it. Nothing is
 * taken down in other steps.
 *
 * @module
 */
import type { GpuSidePlace, Place } from "./place.ts";

/** What a place is busy with: parts of the model, or waiting for results of the GPU, or for other places. */
export type Activity =
  | "embed"
  | "attention"
  | "neurons"
  | "head"
  | "read-back"
  | "wait";

/** One stretch of time. */
export interface TraceEvent {
  /** What it went into. */
  readonly activity: Activity;
  /** The layer, where it has one. */
  readonly layer?: number;
  /** In ms since 1970, with fractions. */
  readonly start: number;
  /** In ms since 1970, with fractions. */
  readonly end: number;
}

/** What one thread, or the GPU itself, did in a step: stretches of time that do not overlap, in order. */
export interface Lane {
  /**
   * A CPU place; the GPU's place, whose thread only tells the device what to
   * do; or the device.
   */
  readonly kind: "cpu" | "gpu host" | "gpu";
  /** Stretches of time. */
  readonly events: readonly TraceEvent[];
}

/** Takes the lanes of a step. */
export type OnTrace = (lanes: readonly Lane[]) => void;

/** The time, the same in all threads, in ms since 1970. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Takes down what one thread does. */
export class Recorder {
  readonly events: TraceEvent[] = [];
  /** The layer that is computed */
  layer?: number;

  /** `activity` began at `start` and ends now. */
  add(activity: Activity, start: number): void {
    this.events.push({ activity, layer: this.layer, start, end: now() });
  }
}

/** What the methods of a place compute. */
const computed: Readonly<Record<string, Activity>> = {
  embed: "embed",
  attention: "attention",
  hidden: "neurons",
  down: "neurons",
  head: "head",
};

/** The methods of a GPU's place that wait for it. */
const readBacks = ["residual", "neurons", "logits"];

/**
 * A place that computes as `place` does and takes down when; `onCompute` is
 * called before it computes something.
 */
export function watched<P extends Place>(
  place: P,
  recorder: Recorder,
  onCompute?: (activity: Activity, layer?: number) => void,
): P {
  const activityOf = (name: string) =>
    computed[name] ??
      (onCompute && readBacks.includes(name) ? "read-back" : undefined);
  return new Proxy(place, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const activity = activityOf(String(name));
      if (!activity) return value.bind(target);
      return (...args: unknown[]) => {
        if (activity !== "read-back") {
          const [layer] = args;
          recorder.layer = typeof layer === "number" ? layer : undefined;
          onCompute?.(activity, recorder.layer);
        }
        const start = now();
        const result = value.apply(target, args);
        if (!(result instanceof Promise)) {
          recorder.add(activity, start);
          return result;
        }
        return result.finally(() => recorder.add(activity, start));
      };
    },
  });
}

/** Takes down what the GPU's place does while `run` has one in its stead: its thread, and the device, where that tells. */
export async function traceGpu(
  place: GpuSidePlace,
  recorder: Recorder,
  run: (place: GpuSidePlace) => Promise<void>,
): Promise<Lane[]> {
  place.startTrace();
  await run(
    watched(place, recorder, (activity, layer) => place.mark(activity, layer)),
  );
  const device = await place.endTrace();
  return [
    { kind: "gpu host", events: recorder.events },
    ...(device ? [{ kind: "gpu", events: device } as const] : []),
  ];
}
