/**
 * When each side computed what while one token was evaluated, and how long both
 * did at once.
 *
 * @module
 */
import type { LanguageModel } from "../../../mod.ts";
import type { Lane, TraceEvent } from "../../../lab.ts";
import { type BenchTest, benchTokens, nameOf, startAt } from "./runs.ts";

/** A token that was watched. */
export interface Timeline {
  /** The test that it stands for. */
  readonly name: string;
  /** What each place did, in ms from the start of the step. */
  readonly lanes: readonly Lane[];
  /** How long it took, in ms. */
  readonly ms: number;
}

/** Tokens of the test before the one that is watched, at most: first ones wait for more. */
const mostBefore = 3;

/** Watches a token of a test of single tokens. */
export async function watchToken(
  model: LanguageModel,
  test: BenchTest,
  signal: AbortSignal,
): Promise<Timeline> {
  const { engine } = model;
  using sequence = await startAt(model, test.depth, signal);
  const before = Math.min(mostBefore, test.tokens - 1);
  const ids = benchTokens(model, test.depth + before + 1).slice(test.depth);
  for (const id of ids.slice(0, before)) {
    await engine.evaluate(sequence, [id], "last", signal);
  }
  return timelineOf(nameOf(test), await engine.trace(sequence, ids[before]));
}

/** Lays what was recorded on one scale that begins at 0. */
export function timelineOf(name: string, lanes: readonly Lane[]): Timeline {
  const events = lanes.flatMap((lane) => lane.events);
  const first = Math.min(...events.map(({ start }) => start));
  const last = Math.max(...events.map(({ end }) => end));
  const moved = (event: TraceEvent): TraceEvent => ({
    ...event,
    start: event.start - first,
    end: event.end - first,
  });
  return {
    name,
    lanes: lanes.map(({ kind, events }) => ({
      kind,
      events: events.map(moved),
    })),
    ms: last - first,
  };
}

/** How much of a token's time each side computed, and both at once. */
export interface Shares {
  readonly cpu: number;
  readonly gpu: number;
  readonly both: number;
}

/** The shares of a token's time; undefined where no GPU reports when it computes. */
export function sharesOf({ lanes, ms }: Timeline): Shares | undefined {
  const busy = (kind: Lane["kind"]) =>
    union(
      lanes.filter((lane) => lane.kind === kind)
        .flatMap(({ events }) => events.filter(isComputing)),
    );
  if (!lanes.some(({ kind }) => kind === "gpu")) return undefined;
  const cpu = busy("cpu"), gpu = busy("gpu");
  const both = cpu.flatMap((a) =>
    gpu.map((b): Stretch => ({
      start: Math.max(a.start, b.start),
      end: Math.min(a.end, b.end),
    })).filter(({ start, end }) => start < end)
  );
  const share = (stretches: readonly Stretch[]) =>
    stretches.reduce((sum, { start, end }) => sum + end - start, 0) / ms;
  return { cpu: share(cpu), gpu: share(gpu), both: share(both) };
}

/** A timeline in a line. */
export function timelineText(timeline: Timeline): string {
  const { name, ms, lanes } = timeline;
  const percent = (share: number) => `${(100 * share).toFixed(0)}%`;
  const shares = sharesOf(timeline);
  const token = `${name}: a token of ${ms.toFixed(2)} ms`;
  if (shares) {
    const { cpu, gpu, both } = shares;
    return `${token}; both sides computed at once for ${
      percent(both)
    } of it, the CPU for ${percent(cpu)}, the GPU for ${percent(gpu)}`;
  }
  return lanes.some(({ kind }) => kind === "gpu host")
    ? `${token}; the GPU does not tell when it computes`
    : `${token}; no GPU took part`;
}

type Stretch = Pick<TraceEvent, "start" | "end">;

function isComputing({ activity }: TraceEvent): boolean {
  return activity !== "wait" && activity !== "read-back";
}

/** The time that any of the stretches covers. */
function union(stretches: readonly Stretch[]): Stretch[] {
  const joined: Stretch[] = [];
  for (
    const next of [...stretches].sort((a, b) => a.start - b.start)
  ) {
    const last = joined.at(-1);
    if (!last || next.start > last.end) joined.push(next);
    else {
      const end = Math.max(last.end, next.end);
      joined[joined.length - 1] = { start: last.start, end };
    }
  }
  return joined;
}
