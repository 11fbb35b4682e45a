/**
 * Who may write next. So many texts are written at the same time; requests that
 * find no place wait, and those of the clients that wait take turns.
 */
import { untilAborted } from "../platform/abort.ts";
import { RequestError } from "./errors.ts";

/** How much the last text weighs in the mean of their times. */
const newest = 0.1;
/** What a text is thought to take, in ms, before one has ended. */
const usualMs = 5000;
/** The longest that a client is told to stay away, in seconds. */
const longestWait = 60;

/** A text that waits for its place. */
interface Waiting {
  readonly client: string;
  readonly grant: () => void;
}

/** One request's right to write its texts, one in each place; given back when it has ended. */
export class Ticket implements Disposable {
  readonly #enteredAt = performance.now();
  /** How long it waited before the first of its texts had a place, in ms */
  waitedMs?: number;

  /** Made by {@linkcode RequestQueue.enter}. */
  constructor(readonly queue: RequestQueue, readonly client: string) {}

  /**
   * A place for one text, as soon as there is one.
   *
   * @throws what `signal` was aborted with
   */
  async place(signal: AbortSignal): Promise<Disposable> {
    return await this.queue.place(this, signal);
  }

  /** One of its texts has a place. */
  serve(): void {
    this.waitedMs ??= performance.now() - this.#enteredAt;
  }

  /** The request has ended. */
  [Symbol.dispose](): void {
    this.queue.leave(this);
  }
}

/** A queue with a limit, that is fair to its clients. */
export class RequestQueue {
  readonly #tickets = new Set<Ticket>();
  /** Texts that wait, by client; whose turn it is comes first */
  readonly #lines = new Map<string, Waiting[]>();
  #free: number;
  /** How long texts have waited for their places, in ms */
  waitedMs = 0;
  /** How many have had one */
  granted = 0;
  #meanMs = usualMs;
  #closed = false;
  #emptied?: PromiseWithResolvers<void>;

  /** `places` texts are written at the same time, and `limit` requests wait at most. */
  constructor(readonly places: number, readonly limit: number) {
    this.#free = places;
  }

  /** Texts that are being written. */
  get running(): number {
    return this.places - this.#free;
  }

  /** Requests that wait, none of whose texts has begun. */
  get waiting(): number {
    let count = 0;
    for (const { waitedMs } of this.#tickets) {
      count += Number(waitedMs === undefined);
    }
    return count;
  }

  /**
   * Takes a request in. Those of one client are served in their order, clients in turn.
   *
   * @throws {RequestError} 503, where too many wait or the server stops
   */
  enter(client: string): Ticket {
    if (this.#closed) {
      throw new RequestError(503, "Cannot answer: the server is stopping");
    }
    const { waiting } = this;
    if (waiting >= this.#free + this.limit) {
      throw new RequestError(
        503,
        `Cannot answer: ${waiting} requests wait, the limit is ${this.limit}`,
        { retryAfter: this.#retryAfter() },
      );
    }
    const ticket = new Ticket(this, client);
    this.#tickets.add(ticket);
    return ticket;
  }

  /** As {@linkcode Ticket.place}. */
  async place(ticket: Ticket, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const start = performance.now();
    if (this.#free > 0) return this.#take(ticket);
    const { promise, resolve } = Promise.withResolvers<Disposable>();
    const grant = () => resolve(this.#take(ticket));
    const waiting: Waiting = { client: ticket.client, grant };
    const line = this.#lines.get(ticket.client);
    if (line) line.push(waiting);
    else this.#lines.set(ticket.client, [waiting]);
    try {
      const place = await untilAborted(promise, signal);
      this.waitedMs += performance.now() - start;
      return place;
    } catch (error) {
      // Granted in the same moment, where it waits no more.
      if (!this.#forget(waiting)) (await promise)[Symbol.dispose]();
      throw error;
    }
  }

  /** A request has ended. */
  leave(ticket: Ticket): void {
    this.#tickets.delete(ticket);
    if (this.#tickets.size === 0) this.#emptied?.resolve();
  }

  /** Takes no more requests in; done when all have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#tickets.size === 0) return;
    this.#emptied ??= Promise.withResolvers();
    await this.#emptied.promise;
  }

  #take(ticket: Ticket): Disposable {
    this.#free--;
    this.granted++;
    ticket.serve();
    const start = performance.now();
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#free++;
        const ms = performance.now() - start;
        this.#meanMs += newest * (ms - this.#meanMs);
        this.#grantNext();
      },
    };
  }

  #grantNext(): void {
    const [first] = this.#lines;
    if (!first) return;
    const [client, line] = first;
    const { grant } = line.shift()!;
    // Behind the other clients.
    this.#lines.delete(client);
    if (line.length > 0) this.#lines.set(client, line);
    grant();
  }

  /** Takes a text out of its line, and says whether it was in one. */
  #forget(waiting: Waiting): boolean {
    const line = this.#lines.get(waiting.client) ?? [];
    const at = line.indexOf(waiting);
    if (at < 0) return false;
    line.splice(at, 1);
    if (line.length === 0) this.#lines.delete(waiting.client);
    return true;
  }

  /** Seconds until those that wait now will have been served. */
  #retryAfter(): number {
    const rounds = (this.waiting + 1) / this.places;
    const seconds = Math.ceil(rounds * this.#meanMs / 1000);
    return Math.min(Math.max(1, seconds), longestWait);
  }
}
