/**
 * The worker's side of requests: calls the service of its role, and posts the
 * answers.
 *
 * @module
 */
import { errorData, type Reply, type Request, type Role } from "./rpc.ts";

/** Posts an event to the one who started the worker. */
export type Emit<Event> = (event: Event) => void;

/** Makes the service of a role; its methods are what can be requested. */
export type MakeService = (emit: Emit<unknown>) => object;

interface WorkerScope {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(reply: Reply, transfer: Transferable[]): void;
}

/**
 * Serves one role, the one that the first request names. A buffer that a method
 * answers, or an array over a whole one, is handed over without a copy.
 */
export function serve(services: Readonly<Record<Role, MakeService>>): void {
  const scope = self as unknown as WorkerScope;
  const emit = (event: unknown) => scope.postMessage({ event }, []);
  let service: Record<string, (...args: readonly unknown[]) => unknown>;
  scope.onmessage = async ({ data: { id, role, method, args } }) => {
    try {
      service ??= services[role](emit) as typeof service;
      const value = await service[method](...args);
      scope.postMessage({ id, value }, buffersOf(value));
    } catch (error) {
      scope.postMessage({ id, error: errorData(error) }, []);
    }
  };
}

function buffersOf(value: unknown): ArrayBuffer[] {
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value;
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}
