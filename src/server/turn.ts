/** A request's turn: it takes a model, waits for a place, and has so much time. */
import { followAborts } from "../platform/abort.ts";
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

/** What a request works with, until it is disposed of. */
export class Turn implements Disposable {
  readonly #stopping = new AbortController();
  readonly #stack = new DisposableStack();

  /** Made by {@linkcode beginTurn}. */
  constructor(
    { signal, options: { timeLimit } }: ServerContext,
    asker: Asker,
    readonly lease: ModelLease,
    readonly ticket: Ticket,
  ) {
    this.#stack.use(lease);
    this.#stack.use(ticket);
    this.#stack.use(followAborts(this.#stopping, [asker.signal, signal]));
    if (timeLimit === 0) return;
    const late = () =>
      this.stop(
        new RequestError(
          504,
          `The answer took more than ${timeLimit} seconds`,
        ),
      );
    const timer = setTimeout(late, 1000 * timeLimit);
    this.#stack.defer(() => clearTimeout(timer));
  }

  /** Aborted when nobody waits for the answer any more, the time is over, or the server stops. */
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Nobody wants the answer any more. */
  stop(reason?: unknown): void {
    this.#stopping.abort(reason);
  }

  /** Gives back what it took. */
  [Symbol.dispose](): void {
    this.#stack[Symbol.dispose]();
  }
}

/**
 * Takes the model that is asked for, lets `requestOf` check what is asked, and
 * gets in line.
 *
 * @throws what `requestOf` throws
 * @throws {RequestError} where the model is not there, or the server is too busy
 */
export async function beginTurn<Request>(
  context: ServerContext,
  asker: Asker,
  requestOf: (lease: ModelLease) => Request | Promise<Request>,
): Promise<{ readonly turn: Turn; readonly request: Request }> {
  const lease = await context.models.take(asker.model);
  try {
    const request = await requestOf(lease);
    const ticket = context.queue.enter(asker.client);
    return { turn: new Turn(context, asker, lease, ticket), request };
  } catch (error) {
    lease[Symbol.dispose]();
    throw error;
  }
}

/**
 * As {@linkcode beginTurn}, and lets `act` do what is asked, in turn with others.
 *
 * @throws what these throw
 * @throws {RequestError} where it takes too long
 */
export async function takeTurn<Request, Result>(
  context: ServerContext,
  asker: Asker,
  requestOf: (lease: ModelLease) => Request | Promise<Request>,
  act: (turn: Turn, request: Request) => Promise<Result>,
): Promise<Result> {
  const { turn, request } = await beginTurn(context, asker, requestOf);
  using _ = turn;
  return await act(turn, request);
}
