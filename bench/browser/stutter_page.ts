/** A page that counts its frames while an engine in a worker loads, reads a prompt and decodes. */
import { startEngine } from "../../browser.ts";

/** What the page does. */
export interface StutterWork {
  readonly threads: number;
  readonly prompt: string;
  readonly tokens: number;
}

/** How a page ran for a while. */
export interface Smoothness {
  readonly ms: number;
  readonly frames: number;
  /** ms between two frames: the longest, and of a hundred the second longest */
  readonly longestGap: number;
  readonly gap99: number;
  /** Tasks of the page that took more than 50 ms; the longest, in ms */
  readonly longTasks: number;
  readonly longestTask: number;
}

/** What the page did, and how it ran meanwhile. */
export type StutterReport = Record<
  "idle" | "load" | "prompt" | "decode",
  Smoothness
>;

const { work } = globalThis as unknown as { work: StutterWork };

/** Does something, and watches the page meanwhile. */
async function watch(act: () => Promise<unknown>): Promise<Smoothness> {
  const tasks: number[] = [], frames: number[] = [];
  const take = (entries: PerformanceEntryList) => {
    for (const { duration } of entries) tasks.push(duration);
  };
  const observer = new PerformanceObserver((list) => take(list.getEntries()));
  observer.observe({ type: "longtask" });
  let isDone = false;
  const frame = () => {
    frames.push(performance.now());
    if (!isDone) requestAnimationFrame(frame);
  };
  const start = performance.now();
  requestAnimationFrame(frame);
  await act();
  const ms = performance.now() - start;
  isDone = true;
  // A frame that comes late is one, too, and so is a task that is still told.
  await new Promise((resolve) => requestAnimationFrame(resolve));
  await new Promise((resolve) => setTimeout(resolve, 100));
  take(observer.takeRecords());
  observer.disconnect();
  const gaps = frames.slice(1).map((at, i) => at - frames[i])
    .sort((a, b) => b - a);
  return {
    ms,
    frames: frames.length,
    longestGap: gaps[0],
    gap99: gaps[Math.floor(gaps.length / 100)],
    longTasks: tasks.length,
    longestTask: Math.max(0, ...tasks),
  };
}

async function run(): Promise<StutterReport> {
  const path = `/stutter_engine.js?threads=${work.threads}`;
  const engine = startEngine(() => new Worker(path, { type: "module" }));
  const complete = async (prompt: string, tokens: number) => {
    const body = { prompt, max_tokens: tokens, temperature: 0, stream: true };
    const response = await engine.fetch("/v1/completions", {
      method: "POST",
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok || !text.includes("[DONE]")) throw new Error(text);
  };
  try {
    return {
      idle: await watch(() =>
        new Promise((resolve) => setTimeout(resolve, 2000))
      ),
      load: await watch(() => engine.fetch("/v1/models")),
      prompt: await watch(() => complete(work.prompt, 1)),
      decode: await watch(() => complete("Once upon a time", work.tokens)),
    };
  } finally {
    await engine[Symbol.asyncDispose]();
  }
}

Object.assign(globalThis, { report: run() });
