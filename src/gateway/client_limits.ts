/** How much each client may ask for: at the same time, and in a minute. */
import { RequestError } from "../server/errors.ts";
import type { CheckedGatewayOptions } from "./options.ts";

/** The most clients that are remembered while none of their requests is under way. */
const mostIdle = 10_000;

/** What is left to a client. */
interface Budget {
  running: number;
  requests: number;
  tokens: number;
  /** When that was so, in ms */
  at: number;
}

/** The limits of a client; 0 is none. */
export type Limits = Pick<
  CheckedGatewayOptions,
  "maxParallelRequests" | "requestsPerMinute" | "tokensPerMinute"
>;

/** What clients have asked for lately: a bucket each of requests and of tokens, which fills up in a minute. */
export class ClientLimits {
  readonly #busy = new Map<string, Budget>();
  /** Those without a request under way, the one that ended its last the longest ago first */
  readonly #idle = new Map<string, Budget>();

  /** `now` is in ms. */
  constructor(
    readonly limits: Limits,
    readonly now: () => number = () => performance.now(),
  ) {}

  /** How many clients are remembered. */
  get size(): number {
    return this.#busy.size + this.#idle.size;
  }

  /**
   * A client begins a request of so many tokens, which ends when this is disposed of.
   *
   * @throws {RequestError} 429, which says when to come back; 413 where it never may
   */
  enter(client: string, tokens: number): Disposable {
    const { maxParallelRequests, requestsPerMinute, tokensPerMinute } =
      this.limits;
    const budget = this.#budgetOf(client);
    if (maxParallelRequests && budget.running >= maxParallelRequests) {
      throw tooMany(
        `${budget.running} requests are answered`,
        maxParallelRequests,
        1,
      );
    }
    if (requestsPerMinute && budget.requests < 1) {
      throw tooMany(
        "a minute's requests are used up",
        requestsPerMinute,
        60 * (1 - budget.requests) / requestsPerMinute,
      );
    }
    if (tokensPerMinute && tokens > tokensPerMinute) {
      throw new RequestError(
        413,
        `Cannot answer: it may take ${tokens} tokens, the limit is ${tokensPerMinute} a minute`,
        { code: "rate_limit_exceeded" },
      );
    }
    if (tokensPerMinute && budget.tokens < tokens) {
      throw tooMany(
        `it may take ${tokens} tokens, and a minute's are used up but for ${
          Math.floor(budget.tokens)
        }`,
        tokensPerMinute,
        60 * (tokens - budget.tokens) / tokensPerMinute,
      );
    }
    budget.running++;
    budget.requests--;
    budget.tokens -= tokens;
    this.#idle.delete(client);
    this.#busy.set(client, budget);
    return { [Symbol.dispose]: () => this.#leave(client, budget) };
  }

  #leave(client: string, budget: Budget): void {
    if (--budget.running > 0) return;
    this.#busy.delete(client);
    this.#idle.set(client, budget);
    if (this.#idle.size <= mostIdle) return;
    const [oldest] = this.#idle.keys();
    this.#idle.delete(oldest);
  }

  #budgetOf(client: string): Budget {
    const { requestsPerMinute, tokensPerMinute } = this.limits;
    const now = this.now();
    const budget = this.#busy.get(client) ?? this.#idle.get(client);
    if (!budget) {
      const [requests, tokens] = [requestsPerMinute, tokensPerMinute];
      return { running: 0, requests, tokens, at: now };
    }
    const share = (now - budget.at) / 60_000;
    const filled = (left: number, limit: number) =>
      Math.min(limit, left + share * limit);
    budget.requests = filled(budget.requests, requestsPerMinute);
    budget.tokens = filled(budget.tokens, tokensPerMinute);
    budget.at = now;
    return budget;
  }
}

function tooMany(why: string, limit: number, seconds: number): RequestError {
  return new RequestError(
    429,
    `Cannot answer: ${why}, the limit is ${limit}`,
    {
      code: "rate_limit_exceeded",
      retryAfter: Math.max(1, Math.ceil(seconds)),
    },
  );
}
