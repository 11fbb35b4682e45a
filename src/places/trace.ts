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
}

/** Takes the lanes of a step. */
export type OnTrace = (lanes: readonly Lane[]) => void;

/** The time, the same in all threads, in ms since 1970. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Records what one thread does. */
export class Recorder {
  readonly events: TraceEvent[] = [];
  /** The layer that is computed */
  layer?: number;

  /** `activity` began at `start` and ends now. */
  add(activity: Activity, start: number): void {
    this.events.push({ activity, layer: this.layer, start, end: now() });
  }
}
