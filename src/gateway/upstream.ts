/** A server behind a gateway, as far as the gateway knows. */
import { hashOf } from "./prompt_blocks.ts";
import type { ModelCard, Report, UpstreamLoad } from "./probe.ts";
import type { Candidate } from "./route.ts";

/**
 * How it is: `new` before anybody knows; `doubtful` once something went wrong,
 * until it was looked at again: it is asked where no other can be.
 */
export type UpstreamState = "new" | "up" | "doubtful" | "down";

let holders = 0;

const unknown: UpstreamLoad = { running: 0, waiting: 0, cacheUsage: 0 };

/** A server behind a gateway. */
export class Upstream implements Candidate {
  readonly name: number;
  holder: number = holders++;
  state: UpstreamState = "new";
  /** Requests that the gateway has sent it, and that have not ended */
  running = 0;
  /** Requests that it has answered, and those that it could not */
  answered = 0;
  failed = 0;
  /** Whether it gets no more requests, and is forgotten when it has none */
  isLeaving = false;
  models: readonly ModelCard[] = [];
  /** What requests may call these */
  names: ReadonlySet<string> = new Set();
  /** What it said last of how busy it is */
  reported: UpstreamLoad = unknown;
  hasMetrics = true;
  /** Resolved when it has been looked at for the first time */
  readonly looked: PromiseWithResolvers<void> = Promise.withResolvers();
  /** What the gateway had sent it then */
  #runningThen = 0;
  #lost = new AbortController();
  #wake = () => {};

  /** `url` has no slash at its end. */
  constructor(readonly url: string) {
    this.name = hashOf(url);
  }

  /** Requests that it answers, those that others have sent it included. */
  get load(): number {
    const { running, waiting } = this.reported;
    return this.running + Math.max(0, running + waiting - this.#runningThen);
  }

  /** Whether it gets requests. */
  get isUp(): boolean {
    return this.state === "up" && !this.isLeaving;
  }

  /** Aborted when it is down: nothing is waited for that has not begun. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** It is well. */
  rise({ models, load }: Report): void {
    if (this.state === "down") {
      // What it had seen is lost, if it was started anew.
      this.holder = holders++;
      this.#lost = new AbortController();
      this.hasMetrics = true;
    }
    this.state = "up";
    this.models = models;
    this.names = new Set(
      models.flatMap(({ id, aliases = [] }) => [id, ...aliases]),
    );
    this.hasMetrics = load !== undefined;
    this.reported = load ?? unknown;
    this.#runningThen = this.running;
  }

  /** Something went wrong: it is looked at again at once. */
  doubt(): void {
    if (this.state === "up") this.state = "doubtful";
    this.#wake();
  }

  /** It is not well. */
  fall(): void {
    this.state = "down";
    this.reported = unknown;
    this.#lost.abort();
  }

  /** It gets no more requests. */
  leave(): void {
    this.isLeaving = true;
    this.#wake();
  }

  /** A request is sent to it, which ends when this is disposed of. */
  take(): Disposable {
    this.running++;
    return {
      [Symbol.dispose]: () => {
        this.running--;
        if (this.isLeaving) this.#wake();
      },
    };
  }

  /** Waits so many ms, less where something is to be seen about it before. */
  async rest(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }
}
