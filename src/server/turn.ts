/** A request's turn: it takes a model, waits for a place, and has so much time. */
import { RequestError } from "./errors.ts";
import type { ModelLease } from "./models.ts";
import type { Ticket } from "./request_queue.ts";
import type { ServerContext } from "./server_context.ts";

/** Who asks, and until when. */
export interface Asker {
  /** Which model; any, where there is one */
  readonly model?: string;
  /** By what requests of the same client are known */
  readonly client: string;
  /** Aborted when nobody waits for the answer any more */
  readonly signal: AbortSignal;
}

/** What a request works with. */
export interface Turn {
  readonly lease: ModelLease;
  readonly ticket: Ticket;
  /** Aborted when nobody waits for the answer any more, the time is over, or the server stops */
  readonly signal: AbortSignal;
}

/**
 * Takes the model that is asked for, lets `requestOf` check what is asked, and
 * then lets `act` do it, in turn with others.
 *
 * @throws what these throw
 * @throws {RequestError} where the model is not there, the server is too busy, or it takes too long
 */
export async function takeTurn<Request, Result>(
  { models, queue, options: { timeLimit }, signal }: ServerContext,
  asker: Asker,
  requestOf: (lease: ModelLease) => Request,
  act: (turn: Turn, request: Request) => Promise<Result>,
): Promise<Result> {
  using lease = await models.take(asker.model);
  const request = requestOf(lease);
  using ticket = queue.enter(asker.client);
  const late = new AbortController();
  const timer = timeLimit > 0
    ? setTimeout(() => late.abort(lateError(timeLimit)), 1000 * timeLimit)
    : undefined;
  try {
    const signals = [asker.signal, signal, late.signal];
    return await act(
      { lease, ticket, signal: AbortSignal.any(signals) },
      request,
    );
  } finally {
    clearTimeout(timer);
  }
}

/** Why an answer does not come in time. */
export function lateError(seconds: number): RequestError {
  return new RequestError(504, `The answer took more than ${seconds} seconds`);
}
