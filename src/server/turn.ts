/** A request's turn: it takes a model, waits for a place, and has so much time. */
import { followAborts } from "../platform/abort.ts";
import { Taken } from "../platform/opened.ts";
import { RequestError } from "./errors.ts";
import type { ModelLease } from "./models.ts";
import type { Ticket } from "./request_queue.ts";
import type { RequestRecord } from "./request_record.ts";
import type { Asker, ServerContext } from "./server_context.ts";

/** What a request works with, until it is disposed of. */
export class Turn implements Disposable {
  readonly #stopping = new AbortController();
  readonly #stack = new Taken();
  readonly ticket: Ticket;
  readonly record: RequestRecord;
  #lease?: ModelLease;

  /**
   * Gets in line.
   *
   * @throws {RequestError} 503 where the server is too busy
   */
  constructor(
    { queue, signal, options: { timeLimit } }: ServerContext,
    { client, signals, record }: Asker,
  ) {
    this.record = record;
    this.ticket = this.#stack.use(queue.enter(client));
    this.#stack.use(record.hold());
    this.#stack.use(followAborts(this.#stopping, [...signals, signal]));
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

  /** The model, once it has been taken. */
  get lease(): ModelLease {
    return this.#lease!;
  }

  /** Takes the model of that name, which may have to be loaded first. */
  async takeModel({ models }: ServerContext, name?: string): Promise<void> {
    const lease = await models.take(name, this.signal);
    this.#lease = this.#stack.use(lease);
    this.record.model = lease.id;
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
    const { record, signal, ticket } = this;
    record.queueMs = ticket.waitedMs;
    if (signal.aborted) record.fail(signal.reason);
    this.#stack[Symbol.dispose]();
  }
}

/**
 * Gets in line, takes the model that is asked for, and lets `requestOf` check what
 * is asked.
 *
 * @throws what `requestOf` throws
 * @throws {RequestError} where the model is not there, or the server is too busy
 */
export async function beginTurn<Request>(
  context: ServerContext,
  asker: Asker,
  requestOf: (lease: ModelLease) => Request | Promise<Request>,
): Promise<{ readonly turn: Turn; readonly request: Request }> {
  const turn = new Turn(context, asker);
  try {
    await turn.takeModel(context, asker.model);
    return { turn, request: await requestOf(turn.lease) };
  } catch (error) {
    turn[Symbol.dispose]();
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

/**
 * The model that is asked for, for what is done at once. Only where it has to be
 * loaded first does the request get in line.
 *
 * @throws {RequestError} where the model is not there, or the server is too busy
 */
export async function takeModel(
  context: ServerContext,
  asker: Asker,
): Promise<ModelLease> {
  const lease = context.models.takeLoaded(asker.model) ??
    await loadedModel(context, asker);
  asker.record.model = lease.id;
  return lease;
}

async function loadedModel(
  { models, queue, signal }: ServerContext,
  { model, client, signals }: Asker,
): Promise<ModelLease> {
  using _ = queue.enter(client);
  const stopping = new AbortController();
  using __ = followAborts(stopping, [...signals, signal]);
  return await models.take(model, stopping.signal);
}
