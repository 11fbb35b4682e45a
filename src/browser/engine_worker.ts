/** An engine in a worker of its own, so that the page does none of its work. */
import { PlaceError } from "../errors.ts";
import { startWorkersFor } from "../platform/page_workers.ts";
import { letPageStart } from "../platform/worker.ts";
import {
  answer,
  type Answering,
  ask,
  type PostedRequest,
} from "./request_channel.ts";

/** How an engine is kept. */
export interface EngineOptions {
  /**
   * For how many ms a page may be hidden before its engine is ended, which frees
   * the memory; the next request starts it again. Default: for ever.
   */
  readonly restAfter?: number;
}

/** An engine in a worker. */
export interface PageEngine extends AsyncDisposable {
  /** As the global one, but what answers is the engine. It may be detached: `new OpenAI({ fetch: … })`. */
  readonly fetch: typeof fetch;
}

/**
 * Answers the page that started this worker by {@linkcode startEngine}, which also
 * starts the threads of a model that is loaded from now on. What is promised is
 * waited for.
 *
 * @example
 * ```ts ignore
 * import { load } from "@culm/culm";
 * import { answerPage } from "@culm/culm/browser";
 * import { createServer } from "@culm/culm/server";
 *
 * answerPage(load("/model.gguf").then((model) => createServer(model)));
 * ```
 */
export function answerPage(
  answering: Answering | PromiseLike<Answering>,
): void {
  letPageStart();
  addEventListener("message", (event) => answer(event, answering));
}

/**
 * Asks an engine in a worker, which calls {@linkcode answerPage}; `start` starts it
 * when it is first asked.
 *
 * @example
 * ```ts ignore
 * import { startEngine } from "@culm/culm/browser";
 *
 * const engine = startEngine(() => new Worker("engine.js", { type: "module" }));
 * const response = await engine.fetch("/v1/models");
 * ```
 */
export function startEngine(
  start: () => Worker,
  { restAfter = Infinity }: EngineOptions = {},
): PageEngine {
  let worker: Worker | undefined;
  let endStarted = () => {};
  let ended = new AbortController();
  let asked = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;

  /** Ends the worker, and with it what it has started. */
  const end = (why: string) => {
    worker?.terminate();
    endStarted();
    worker = undefined;
    ended.abort(new PlaceError(why));
    ended = new AbortController();
  };
  const rest = () => {
    clearTimeout(timer);
    if (!globalThis.document?.hidden || asked > 0 || restAfter === Infinity) {
      return;
    }
    timer = setTimeout(() => end("The engine rests"), restAfter);
  };
  const running = (): Worker => {
    if (isClosed) throw new PlaceError("Cannot ask the engine: it is closed");
    if (worker) return worker;
    worker = start();
    endStarted = startWorkersFor(worker);
    worker.addEventListener("error", (event) => {
      end(`The engine failed: ${event.message ?? "it cannot be started"}`);
    });
    return worker;
  };
  globalThis.document?.addEventListener("visibilitychange", rest);
  return {
    async fetch(input, init) {
      const url = input instanceof Request
        ? input
        : new URL(input, location.href);
      const request = new Request(url, init);
      const { pathname, search } = new URL(request.url);
      const to = running();
      asked++;
      clearTimeout(timer);
      return await ask(request, pathname + search, {
        post: (message: PostedRequest, transfer) =>
          to.postMessage(message, transfer),
        signal: ended.signal,
        onEnd: () => {
          asked--;
          rest();
        },
      });
    },
    [Symbol.asyncDispose]() {
      isClosed = true;
      clearTimeout(timer);
      globalThis.document?.removeEventListener("visibilitychange", rest);
      end("The engine is closed");
      return Promise.resolve();
    },
  };
}
