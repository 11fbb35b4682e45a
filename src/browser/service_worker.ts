/**
 * A service worker that hands requests to `v1/` on to the page that answers
 * them. Bundled into `service_worker.bundle.js`, which a site serves beside its
 * pages. It keeps nothing, for browsers end it when they like.
 */
import { ask } from "./request_channel.ts";
import { routingClients, whoAmI } from "./routes_lock.ts";

/** What is used of a service worker's scope, which the types of pages do not have. */
interface ServiceWorkerScope {
  readonly registration: ServiceWorkerRegistration;
  readonly clients: {
    claim(): Promise<void>;
    get(id: string): Promise<Client | undefined>;
  };
  skipWaiting(): Promise<void>;
  addEventListener<Type extends keyof Events>(
    type: Type,
    listener: (event: Events[Type]) => void,
  ): void;
}

interface Events {
  readonly install: ExtendableEvent;
  readonly activate: ExtendableEvent;
  readonly fetch: FetchEvent;
  readonly message: MessageEvent;
}

interface ExtendableEvent {
  waitUntil(work: Promise<unknown>): void;
}

interface Client {
  readonly id: string;
  postMessage(message: unknown, transfer: Transferable[]): void;
}

interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  readonly clientId: string;
  respondWith(response: Promise<Response>): void;
}

const scope = self as unknown as ServiceWorkerScope;
const root = new URL(scope.registration.scope).pathname;

scope.addEventListener("install", (event) => {
  event.waitUntil(scope.skipWaiting());
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(scope.clients.claim());
});

scope.addEventListener("message", ({ data, source, ports: [port] }) => {
  if (data === whoAmI) port.postMessage((source as unknown as Client).id);
});

scope.addEventListener("fetch", (event) => {
  const { origin, pathname, search } = new URL(event.request.url);
  if (origin !== location.origin || !pathname.startsWith(`${root}v1/`)) return;
  const path = pathname.slice(root.length - 1) + search;
  event.respondWith(answerOf(event, path));
});

async function answerOf(event: FetchEvent, path: string): Promise<Response> {
  const { request } = event;
  const page = await answeringPage(event.clientId);
  if (!page) return await fetch(request);
  // Else the browser may end this worker in the midst of the answer.
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<void>();
  event.waitUntil(ended);
  return await ask(request, path, {
    post: (message, transfer) => page.postMessage(message, transfer),
    onEnd,
  });
}

/** A page that answers: the one that asks, where it is one. */
async function answeringPage(asking: string): Promise<Client | undefined> {
  const ids = await routingClients();
  const own = ids.find((id) => id === asking);
  for (const id of own ? [own, ...ids] : ids) {
    const page = await scope.clients.get(id);
    if (page) return page;
  }
}
