/**
 * Workers of every platform. They are started as text, so that no permission is
 * needed, and no bundler has to find their file.
 */
import { nodeModule } from "./node_module.ts";
import { startInPage } from "./page_workers.ts";

/** What a worker runs, and who is told what comes from it. */
export interface WorkerOptions {
  /** Plain JavaScript that imports nothing */
  readonly text: string;
  /** Where the same lies, for those of the web's that may not be started as text */
  readonly url?: string;
  /** For people */
  readonly name?: string;
  readonly onMessage: (data: unknown) => void;
  /** Given the message of an error that ended it, or that nobody caught. */
  readonly onError: (message: string) => void;
}

/** A worker that has been started. The process waits for it before it ends. */
export interface StartedWorker {
  post(message: unknown, transfer?: Transferable[]): void;
  /** Has the process wait for it, or not. */
  keepAlive(isAwaited: boolean): void;
  terminate(): void;
}

/** Whether there are workers here. */
export function hasWorkers(): boolean {
  return typeof Worker !== "undefined" ||
    nodeModule("node:worker_threads") !== undefined;
}

/** Whether the page that started this worker starts the others. */
let isLeftToPage = false;

/** Has the page that started this worker start those that this one needs, from now on: a page of `startWorkersFor`. */
export function letPageStart(): void {
  isLeftToPage = true;
}

/** Starts a worker; throws what the platform does where that is not permitted. */
export function startWorker(options: WorkerOptions): StartedWorker {
  if (typeof Worker === "undefined") return startThread(options);
  const { url = urlOf(options.text) } = options;
  return (isLeftToPage ? startInPage : startWebWorker)({ ...options, url });
}

/** Where texts lie as long as the program runs. */
const urls = new Map<string, string>();

function urlOf(text: string): string {
  const url = urls.get(text) ??
    URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  urls.set(text, url);
  return url;
}

function startWebWorker(
  { url, name, onMessage, onError }: WorkerOptions & { readonly url: string },
): StartedWorker {
  const worker = new Worker(url, { type: "module", name });
  worker.onmessage = ({ data }) => onMessage(data);
  worker.onerror = (event) => {
    event.preventDefault();
    onError(event.message);
  };
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    keepAlive: (isAwaited) => keepAlive(worker, isAwaited),
    terminate: () => worker.terminate(),
  };
}

type Switch = (isAwaited: boolean) => void;

/**
 * Deno's switch for whether a process waits for a worker, which Bun's workers
 * have as `ref` and `unref`: of Deno 2.9's, the one method without a name that
 * takes one argument. Where there is none, workers keep a process alive until
 * they are terminated.
 */
const denoSwitch = Object.getOwnPropertySymbols(
  globalThis.Worker?.prototype ?? {},
).find((symbol) => switchOf(Worker.prototype, symbol)?.length === 1);

function switchOf(
  of: Worker,
  name: symbol | "ref" | "unref",
): Switch | undefined {
  const value = (of as unknown as Record<symbol | string, unknown>)[name];
  return typeof value === "function" ? value as Switch : undefined;
}

function keepAlive(worker: Worker, isAwaited: boolean): void {
  const name = denoSwitch ?? (isAwaited ? "ref" : "unref");
  switchOf(worker, name)?.call(worker, isAwaited);
}

/** What a thread of Node's lacks of the scope of a worker. */
const scope = `{
  const { parentPort } = require("node:worker_threads");
  globalThis.self = globalThis;
  self.postMessage = (data, transfer) => parentPort.postMessage(data, transfer);
  self.close = () => process.exit();
  parentPort.on("message", (data) => self.onmessage({ data }));
}
`;

function startThread(
  { text, name, onMessage, onError }: WorkerOptions,
): StartedWorker {
  const { Worker } = nodeModule("node:worker_threads")!;
  const worker = new Worker(scope + text, { eval: true, name });
  worker.on("message", onMessage);
  worker.on("error", ({ message }) => onError(message));
  return {
    post: (message, transfer) =>
      worker.postMessage(message, transfer as ArrayBuffer[]),
    keepAlive: (isAwaited) => isAwaited ? worker.ref() : worker.unref(),
    terminate: () => void worker.terminate(),
  };
}
