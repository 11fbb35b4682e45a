/** Places that record when they compute what. */
import { KernelWatch } from "./cpu/kernel_watch.ts";
import type { CpuSidePlace, GpuSidePlace, Place } from "./place.ts";
import { type Activity, type Lane, now, type Recorder } from "./trace.ts";

/** What the methods of a place compute. */
const computed: Readonly<Record<string, Activity>> = {
  embed: "embed",
  project: "attention",
  attention: "attention",
  attentionOutput: "attention",
  route: "neurons",
  ffnActivations: "neurons",
  down: "neurons",
  head: "head",
  reach: "head",
};

/** The methods of a GPU's place that wait for it. */
const readBacks = ["residual", "neurons", "putSquares", "logits"];

/**
 * A GPU's place that computes as `place` does and records when; `onCompute` is
 * called before it computes something.
 */
function watched(
  place: GpuSidePlace,
  recorder: Recorder,
  onCompute: (activity: Activity, layer?: number) => void,
): GpuSidePlace {
  const activityOf = (name: string) =>
    computed[name] ?? (readBacks.includes(name) ? "read-back" : undefined);
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
          onCompute(activity, recorder.layer);
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

/** A CPU place while it is traced. */
export interface TracedCpu {
  /** Has to run in the place's stead. */
  readonly place: CpuSidePlace;
  /** Call at the step's end. */
  end(): Lane;
}

/** Records what a CPU place does in a step, which it has waited for `idleMs` long: stage by stage and kernel by kernel. */
export function traceCpu(
  place: CpuSidePlace,
  recorder: Recorder,
  idleMs = 0,
): TracedCpu {
  const watch = new KernelWatch(recorder);
  place.watchKernels?.((kernels) => watch.of(kernels));
  const traced = timedMethods(place, recorder);
  const start = performance.now();
  return {
    place: traced,
    end() {
      const ms = performance.now() - start;
      place.watchKernels?.();
      const watchMs = watch.finish();
      const { events, work } = recorder;
      const profile = { idleMs, ms, watchMs, work: [...work.values()] };
      return { kind: "cpu", events, profile };
    },
  };
}

/** A place whose methods record when they compute, and what they take beside their kernels. */
function timedMethods<P extends Place>(place: P, recorder: Recorder): P {
  const timed: Record<string, unknown> = {};
  for (const name of namesOf(place)) {
    const value = place[name as keyof P];
    timed[name] = typeof value === "function"
      ? timedMethod(name, value.bind(place), recorder)
      : value;
  }
  return timed as P;
}

function timedMethod(
  name: string,
  method: (...args: unknown[]) => unknown,
  recorder: Recorder,
): typeof method {
  const activity = computed[name];
  const stage = activity || name === "begin" ? name : "exchange";
  return (...args) => {
    recorder.stage = stage;
    if (activity) {
      recorder.computed = name;
      recorder.layer = typeof args[0] === "number" ? args[0] : undefined;
    }
    const kernelsBefore = recorder.kernelMs;
    const start = performance.now();
    const result = method(...args);
    const ms = performance.now() - start;
    const inKernels = recorder.kernelMs - kernelsBefore;
    recorder.addWork("JavaScript", ms - inKernels);
    if (activity) recorder.add(activity, performance.timeOrigin + start);
    return result;
  };
}

/** Names of all that an object has, and its classes. */
function namesOf(object: object): Set<string> {
  const names = new Set<string>();
  for (
    let part = object;
    part !== Object.prototype;
    part = Object.getPrototypeOf(part)
  ) for (const name of Object.getOwnPropertyNames(part)) names.add(name);
  return names.difference(new Set(["constructor"]));
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
