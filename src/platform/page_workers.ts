/**
 * Workers that a page starts for a worker of its own. In Firefox a worker that
 * starts another may wait for ever: where a driver or its tools listen,
 * `new Worker` returns when the main thread has told them of the new one, and is
 * woken by the same notification, given once, as the new one that waits for its
 * script (ESR 153, `WaitForIsDebuggerRegistered`). Where cores are busy that now
 * and then wakes the wrong one. In the page itself, nothing is waited for.
 */

/** Posted to the page with two ports: what the page tells of the worker, and what is posted to the worker itself. */
interface StartRequest {
  readonly culmWorker: { readonly url: string; readonly name?: string };
}

interface PageWorkerOptions {
  readonly url: string;
  readonly name?: string;
  readonly onMessage: (data: unknown) => void;
  readonly onError: (message: string) => void;
}

/** What this file needs of the scope of a worker. */
interface WorkerScope {
  readonly location: { readonly href: string };
  postMessage(request: StartRequest, ports: MessagePort[]): void;
}

/** Has the page start a worker; what is posted to it waits for that. */
export function startInPage(
  { url, name, onMessage, onError }: PageWorkerOptions,
) {
  const told = new MessageChannel(), posted = new MessageChannel();
  told.port1.onmessage = ({ data }) => onError(data);
  posted.port1.onmessage = ({ data }) => onMessage(data);
  const scope = self as unknown as WorkerScope;
  const { href } = new URL(url, scope.location.href);
  scope.postMessage({ culmWorker: { url: href, name } }, [
    told.port2,
    posted.port2,
  ]);
  return {
    post: (message: unknown, transfer: Transferable[] = []) =>
      posted.port1.postMessage(message, transfer),
    keepAlive() {},
    terminate() {
      posted.port1.close();
      told.port1.postMessage("terminate");
      told.port1.close();
    },
  };
}

/** Starts what `worker` has the page start; gives a function that ends all of it. */
export function startWorkersFor(worker: Worker): () => void {
  const started = new Set<Worker>();
  const start = ({ data, ports: [told, posted] }: MessageEvent) => {
    const request = (data as StartRequest | undefined)?.culmWorker;
    if (!request) return;
    try {
      const { url, name } = request;
      const worker = new Worker(url, { type: "module", name });
      started.add(worker);
      worker.onerror = (event) => {
        event.preventDefault();
        told.postMessage(event.message);
      };
      told.onmessage = () => {
        worker.terminate();
        started.delete(worker);
        told.close();
      };
      worker.postMessage(undefined, [posted]);
    } catch (error) {
      told.postMessage((error as Error).message);
    }
  };
  worker.addEventListener("message", start);
  return () => {
    for (const worker of started) worker.terminate();
    started.clear();
  };
}
