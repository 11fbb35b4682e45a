/**
 * What a worker and the one who started it post to one another: requests, an
 * answer to each, and events between them. The worker's side of it calls the
 * service of its role, and posts the answers.
 */
import { type CulmError, errorOfName } from "../errors.ts";

/** What a worker can be: each role is a service of its own. */
export type Role =
  | "place"
  | "reader"
  | "quantiser"
  | "predictor"
  | "vocabulary"
  | "fetcher";

/** Requests one method of a role's service. */
export interface Request {
  readonly id: number;
  readonly role: Role;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** An error without its class. */
export type ErrorData = Pick<Error, "name" | "message">;

/** The value or the error of a request. */
export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: ErrorData };

/** What a worker posts: answers, and events that nobody requested. */
export type Reply = Answer | { readonly event: unknown };

/** An error as it is posted; structured clones lose its class. */
export function errorData(error: unknown): ErrorData {
  const { name, message } = error as Error;
  return { name, message };
}

/** The error that was posted: of its class where that is culm's, else what `foreign` makes of its message. */
export function errorFrom(
  { name, message }: ErrorData,
  foreign: (message: string) => CulmError,
): CulmError {
  return errorOfName(name, message) ?? foreign(message);
}

/** Posts an event to the one who started the worker. */
export type Emit<Event> = (event: Event) => void;

interface WorkerScope {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(reply: Reply, transfer: Transferable[]): void;
}

/**
 * Serves one role, the one that the first request names: the methods of what is
 * made for it. A buffer that a method answers, or an array over a whole one, is
 * handed over without a copy.
 */
export function serve(
  services: Readonly<Record<Role, (emit: Emit<unknown>) => object>>,
): void {
  let scope = self as unknown as WorkerScope;
  const emit = (event: unknown) => scope.postMessage({ event }, []);
  let service: Record<string, (...args: readonly unknown[]) => unknown>;
  const take = async ({ data, ports }: MessageEvent<Request>) => {
    if (ports?.length) {
      // A page has started this, for the one who has the other end.
      scope = ports[0] as WorkerScope;
      scope.onmessage = take;
      return;
    }
    const { id, role, method, args } = data;
    try {
      service ??= services[role](emit) as typeof service;
      const value = await service[method](...args);
      scope.postMessage({ id, value }, buffersOf(value));
    } catch (error) {
      scope.postMessage({ id, error: errorData(error) }, []);
    }
  };
  scope.onmessage = take;
}

function buffersOf(value: unknown): ArrayBuffer[] {
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value;
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}
