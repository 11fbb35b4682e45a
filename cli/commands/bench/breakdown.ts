/**
 * Where the time of a token goes: by stage and kernel, and by cause.
 *
 * @module
 */
import type { LanguageModel } from "../../../mod.ts";
import type { Lane, StepProfile, WorkTime } from "../../../lab.ts";
import { formatShare, formatTable } from "../../format.ts";
import { median } from "./roofline.ts";
import { type BenchTest, benchTokens, nameOf, startAt } from "./runs.ts";

/** What tokens of a test took. */
export interface Breakdown {
  /** The test that it stands for. */
  readonly name: string;
  /** Tokens that were watched, and whose means these are: every other one, and of them the middle half by time. */
  readonly tokens: number;
  /** A token that was not watched, in ms: the median. */
  readonly ms: number;
  /** What each thread's time went into, as means. */
  readonly threads: readonly StepProfile[];
}

/** Runs a test of single tokens, and looks into every other one. */
export async function breakDown(
  model: LanguageModel,
  test: BenchTest,
  signal: AbortSignal,
): Promise<Breakdown> {
  const { engine } = model;
  using sequence = await startAt(model, test.depth, signal);
  const ids = benchTokens(model, test.depth + test.tokens).slice(test.depth);
  const times: number[] = [], steps: (readonly Lane[])[] = [];
  for (const [i, id] of ids.entries()) {
    if (i % 2 === 0) {
      const start = performance.now();
      await engine.evaluate(sequence, [id], "last", signal);
      times.push(performance.now() - start);
    } else steps.push(await engine.trace(sequence, id));
  }
  const profiles = steps.map((lanes) =>
    lanes.flatMap(({ profile }) => profile ?? [])
  );
  const usual = middleHalf(ofSameThreads(profiles));
  return {
    name: nameOf(test),
    tokens: usual.length,
    ms: median(times),
    threads: usual[0].map((_, thread) =>
      meanOf(usual.map((threads) => threads[thread]))
    ),
  };
}

/** Those of as many threads as most of them: where their number is not given, it changes as cores are free. */
function ofSameThreads(
  steps: readonly (readonly StepProfile[])[],
): readonly (readonly StepProfile[])[] {
  const groups = Map.groupBy(steps, (threads) => threads.length);
  return [...groups.values()]
    .reduce((most, group) => group.length > most.length ? group : most);
}

/** Without the tokens that took least and most time: what disturbs one takes many times what there is to be seen. */
function middleHalf(
  steps: readonly (readonly StepProfile[])[],
): readonly (readonly StepProfile[])[] {
  const msOf = ([{ idleMs, ms }]: readonly StepProfile[]) => idleMs + ms;
  const quarter = Math.floor(steps.length / 4);
  return steps.toSorted((a, b) => msOf(a) - msOf(b))
    .slice(quarter, steps.length - quarter);
}

/** The mean of what one thread did in several steps. */
export function meanOf(steps: readonly StepProfile[]): StepProfile {
  const mean = (of: (step: StepProfile) => number) =>
    steps.reduce((sum, step) => sum + of(step), 0) / steps.length;
  const all = new Map<string, WorkTime>();
  for (const { work } of steps) {
    for (const each of work) all.set(keyOf(each), each);
  }
  const work = [...all.values()].map((one) => {
    const meanOfWork = (name: "calls" | "ms" | "bytes") =>
      mean(({ work }) => findWork(work, one)?.[name] ?? 0);
    const meanTime = (name: "computingMs" | "readingMs") =>
      one[name] === undefined
        ? undefined
        : mean(({ work }) => findWork(work, one)?.[name] ?? 0);
    return {
      ...one,
      calls: meanOfWork("calls"),
      ms: meanOfWork("ms"),
      bytes: meanOfWork("bytes"),
      computingMs: meanTime("computingMs"),
      readingMs: meanTime("readingMs"),
    };
  });
  return {
    idleMs: mean(({ idleMs }) => idleMs),
    ms: mean(({ ms }) => ms),
    watchMs: mean(({ watchMs }) => watchMs),
    work,
  };
}

function keyOf({ stage, work }: WorkTime): string {
  return `${stage} ${work}`;
}

function findWork(
  work: readonly WorkTime[],
  one: WorkTime,
): WorkTime | undefined {
  return work.find((each) => keyOf(each) === keyOf(one));
}

/** What one thread's time of a token was spent for, in ms. */
export interface Causes {
  /** Kernels whose data lie in a core's own caches, and of those that read rows what they take there. */
  readonly instructions: number;
  /** Of what rows took beyond that, what plain reading of them takes beyond it too: a cache's, or memory's, rate. */
  readonly reading: number;
  /** The rest: rows were awaited that had not been asked for early enough. */
  readonly latency: number;
  /** Waiting for other threads. */
  readonly waiting: number;
  /** JavaScript between kernels. */
  readonly javascript: number;
  /** Watching all that. */
  readonly watching: number;
  /** Between two steps. */
  readonly idle: number;
}

/** The causes of a thread's time, which add up to that of a step and the pause before it. */
export function causesOf(
  { idleMs, ms, watchMs, work }: StepProfile,
): Causes {
  const causes = { instructions: 0, reading: 0, latency: 0, waiting: 0 };
  for (const { work: name, ms, computingMs = ms, readingMs = 0 } of work) {
    if (name === "JavaScript") continue;
    if (name === "wait") {
      causes.waiting += ms;
      continue;
    }
    const computing = Math.min(ms, computingMs);
    const reading = Math.min(ms, Math.max(computing, readingMs)) - computing;
    causes.instructions += computing;
    causes.reading += reading;
    causes.latency += ms - computing - reading;
  }
  const measured = Object.values(causes).reduce((sum, part) => sum + part);
  // Measured behind the step, watching may seem to have taken longer than there was time for.
  const watching = Math.min(watchMs, ms - measured);
  return {
    ...causes,
    javascript: ms - measured - watching,
    watching,
    idle: idleMs,
  };
}

const causeNames: Readonly<Record<keyof Causes, string>> = {
  instructions: "instructions",
  reading: "rate of caches and memory",
  latency: "latency of caches and memory",
  waiting: "waiting for other threads",
  javascript: "JavaScript",
  watching: "watching (within JavaScript above)",
  idle: "between two steps",
};

/** Both tables. */
export function breakdownText({ name, tokens, ms, threads }: Breakdown) {
  const all = meanOf(threads);
  const share = (part: number) => formatShare(part, all.idleMs + all.ms);
  const times = (of: (thread: StepProfile) => number, mean: number) => [
    ...threads.map((thread) => of(thread).toFixed(3)),
    share(mean),
  ];
  const heads = [...threads.map((_, i) => `ms, ${i}`), "share"];
  const rows = all.work.map((one) => {
    const { stage, work, calls, ms, bytes, computingMs, readingMs } = one;
    const rate = (ms?: number) =>
      ms && bytes > 0 ? (bytes / ms / 1e6).toFixed(1) : "";
    return [
      stage,
      work,
      calls.toFixed(0),
      ...times(({ work }) => findWork(work, one)?.ms ?? 0, ms),
      bytes > 0 ? (bytes / 1e6).toFixed(2) : "",
      rate(ms),
      rate(computingMs),
      rate(readingMs),
    ];
  });
  const causes = (Object.keys(causeNames) as (keyof Causes)[]).map((cause) => [
    causeNames[cause],
    ...times((thread) => causesOf(thread)[cause], causesOf(all)[cause]),
  ]);
  const columns = ["MB", "GB/s", "computing", "reading"];
  return `${name}: a token of ${ms.toFixed(3)} ms, of ${
    (all.idleMs + all.ms).toFixed(3)
  } while it is watched; means of the middle ${tokens} tokens\n` +
    formatTable([["stage", "work", "calls", ...heads, ...columns], ...rows]) +
    "\n" + formatTable([["cause", ...heads], ...causes]);
}
