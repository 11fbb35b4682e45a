/**
 * When each place did what in a step, for those who want to see it. Nothing is
 * recorded in other steps.
 */

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
  /** What the time of a CPU place went into. */
  readonly profile?: StepProfile;
}

/** What one thread's time went into in a step. */
export interface StepProfile {
  /** How long it had nothing to do before the step, in ms. */
  readonly idleMs: number;
  /** From the step's start to its end, in ms. */
  readonly ms: number;
  /** What recording this has itself taken, about, in ms: a part of the JavaScript's time. */
  readonly watchMs: number;
  /** The parts, in the order in which they came first; what is left is JavaScript between stages. */
  readonly work: readonly WorkTime[];
}

/** What one kind of work took, in all layers together. */
export interface WorkTime {
  /** The method of the place that computed; `exchange` of those that hand something over. */
  readonly stage: string;
  /** A kernel of `wasm/src/`, `JavaScript` between kernels, or `wait` for other threads behind the stage. */
  readonly work: string;
  /** How often. */
  readonly calls: number;
  /** In ms. */
  readonly ms: number;
  /** Bytes of weights, keys and values that it read. */
  readonly bytes: number;
  /** What the same calls take on rows that a core's own caches hold, in ms, where it reads rows. */
  readonly computingMs?: number;
  /** What it takes to read the same bytes and do nothing with them, in ms, where they lie in sequence. */
  readonly readingMs?: number;
}

/** Takes the lanes of a step. */
export type OnTrace = (lanes: readonly Lane[]) => void;

/** The time, the same in all threads, in ms since 1970. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** A kind of work while it is added up. */
export type WorkSum = { -readonly [Name in keyof WorkTime]: WorkTime[Name] };

/** Records what one thread does. */
export class Recorder {
  readonly events: TraceEvent[] = [];
  readonly work = new Map<string, WorkSum>();
  /** The layer that is computed */
  layer?: number;
  /** The stage that is computed, or handed over */
  stage = "";
  /** The stage that was computed last */
  computed = "";
  /** What kernels have taken */
  kernelMs = 0;

  /** `activity` began at `start` and ends now. */
  add(activity: Activity, start: number): void {
    const end = now();
    this.events.push({ activity, layer: this.layer, start, end });
    if (activity === "wait") this.addWork("wait", end - start, this.computed);
  }

  /** Adds a call that took `ms`; gives what is known of such calls. */
  addWork(work: string, ms: number, stage: string = this.stage): WorkSum {
    const key = `${stage} ${work}`;
    let sum = this.work.get(key);
    if (!sum) {
      sum = { stage, work, calls: 0, ms: 0, bytes: 0 };
      this.work.set(key, sum);
    }
    sum.calls++;
    sum.ms += ms;
    return sum;
  }
}
