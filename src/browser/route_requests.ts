/** Has a site's own address answer: requests of its pages go to an engine through a service worker. */
import { UsageError } from "../errors.ts";
import { answer, type Answering } from "./request_channel.ts";
import { routesLock, whoAmI } from "./routes_lock.ts";

/**
 * Answers requests of this site's pages to `v1/`, from where the service worker
 * lies on, until it is disposed of: an unmodified client then works without a
 * network. Where several pages answer, each asks itself. `serviceWorker` is the
 * address of `culm-service-worker.js` of {@linkcode siteFiles}.
 *
 * @throws {UsageError} where the service worker cannot be registered
 *
 * @example
 * ```ts ignore
 * import { routeRequests, startEngine } from "@culm/culm/browser";
 *
 * const engine = startEngine(() => new Worker("engine.js", { type: "module" }));
 * await using _route = await routeRequests(engine, "culm-service-worker.js");
 * const response = await fetch("v1/models");
 * ```
 */
export async function routeRequests(
  answering: Answering,
  serviceWorker: string | URL,
): Promise<AsyncDisposable> {
  const container = navigator.serviceWorker as
    | ServiceWorkerContainer
    | undefined;
  try {
    if (!container) throw new Error("pages need https or localhost for that");
    await container.register(serviceWorker);
  } catch (error) {
    throw new UsageError(
      `Cannot register the service worker ${serviceWorker}: ${
        (error as Error).message
      }`,
      { cause: error },
    );
  }
  const listen = (event: MessageEvent) => void answer(event, answering);
  container.addEventListener("message", listen);
  container.startMessages();
  const id = await nameOf(await controllerOf(container));
  const held = Promise.withResolvers<void>();
  const stop = Promise.withResolvers<void>();
  const released = navigator.locks.request(
    routesLock(id),
    { ifAvailable: true },
    (lock) => {
      if (lock) held.resolve();
      else held.reject(new UsageError("Cannot route requests twice in a page"));
      return lock ? stop.promise : undefined;
    },
  );
  await held.promise;
  return {
    async [Symbol.asyncDispose]() {
      container.removeEventListener("message", listen);
      stop.resolve();
      await released;
    },
  };
}

/** Waits until requests of this page go through the service worker. */
async function controllerOf(
  container: ServiceWorkerContainer,
): Promise<ServiceWorker> {
  while (!container.controller) {
    await new Promise((resolve) =>
      container.addEventListener("controllerchange", resolve, { once: true })
    );
  }
  return container.controller;
}

/** What the service worker calls this page. */
function nameOf(worker: ServiceWorker): Promise<string> {
  const { port1: port, port2 } = new MessageChannel();
  const { promise, resolve } = Promise.withResolvers<string>();
  port.onmessage = ({ data }: MessageEvent<string>) => {
    port.close();
    resolve(data);
  };
  worker.postMessage(whoAmI, [port2]);
  return promise;
}
