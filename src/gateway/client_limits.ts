/** How much each client may ask for: at the same time, and in a minute. */
import { RequestError } from "../server/errors.ts";
import type { CheckedGatewayOptions } from "./options.ts";

/** The most clients that are remembered while they ask for nothing. */
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
  readonly #budgets = new Map<string, Budget>();

  /** `now` is in ms. */
  constructor(
    readonly limits: Limits,
    readonly now: () => number = () => performance.now(),
  ) {}

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
    return { [Symbol.dispose]: () => void budget.running-- };
  }

  #budgetOf(client: string): Budget {
    const { requestsPerMinute, tokensPerMinute } = this.limits;
    const now = this.now();
    let budget = this.#budgets.get(client);
    if (!budget) {
      this.#forgetIdle(now);
      const [requests, tokens] = [requestsPerMinute, tokensPerMinute];
      budget = { running: 0, requests, tokens, at: now };
      this.#budgets.set(client, budget);
      return budget;
    }
    const share = (now - budget.at) / 60_000;
    const filled = (left: number, limit: number) =>
      Math.min(limit, left + share * limit);
    budget.requests = filled(budget.requests, requestsPerMinute);
    budget.tokens = filled(budget.tokens, tokensPerMinute);
    budget.at = now;
    return budget;
  }

  /** Whoever has asked for nothing in a minute has a full bucket, as a new client has. */
  #forgetIdle(now: number): void {
    if (this.#budgets.size < mostIdle) return;
    for (const [client, { running, at }] of this.#budgets) {
      if (running === 0 && now - at >= 60_000) this.#budgets.delete(client);
    }
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
