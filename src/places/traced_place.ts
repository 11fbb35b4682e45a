/** Places that record when they compute what. */
import type { GpuSidePlace, Place } from "./place.ts";
import { type Activity, type Lane, now, type Recorder } from "./trace.ts";

/** What the methods of a place compute. */
const computed: Readonly<Record<string, Activity>> = {
  embed: "embed",
  project: "attention",
  attention: "attention",
  attentionOutput: "attention",
  ffnActivations: "neurons",
  down: "neurons",
  head: "head",
};

/** The methods of a GPU's place that wait for it. */
const readBacks = ["residual", "neurons", "putSquares", "logits"];

/**
 * A place that computes as `place` does and records when; `onCompute` is
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

/** Records what the GPU's place does while `run` has one in its stead: its thread, and the device, where it reports that. */
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
