/**
 * How a gateway works.
 *
 * @module
 */
import * as v from "valibot";
import type { Checked, OptionsOf, SchemaOf } from "../options.ts";
import { serverOptions } from "../server/options.ts";

/** How a gateway works. */
export const gatewayOptions = {
  /** How many more requests than the least busy upstream one may have, and still get those whose prompt it knows. */
  balanceThreshold: {
    type: "integer",
    minimum: 0,
    default: 8,
    flag: "--balance-abs-threshold <n>",
    description:
      "how many more requests than the least busy upstream one may have, and still get those whose prompt it knows",
  },
  /** The header by which requests of one session are known. */
  sessionHeader: {
    type: "string",
    default: "x-session-id",
    flag: "--session-key <header>",
    description:
      "header by which requests of one session are known, beside the body's prompt_cache_key and user",
  },
  /** To how many other upstreams a request is sent where one cannot answer. */
  maxRetries: {
    type: "integer",
    minimum: 0,
    default: 3,
    flag: "--retry-max-retries <n>",
    description:
      "to how many other upstreams a request is sent where one cannot answer",
  },
  /** Seconds between two looks at an upstream. */
  healthInterval: {
    type: "number",
    exclusiveMinimum: 0,
    default: 2,
    flag: "--health-check-interval-secs <s>",
    description: "seconds between two looks at an upstream",
  },
  /** Seconds in which an upstream has to say how it is; three times late, it is down. */
  healthTimeout: {
    type: "number",
    exclusiveMinimum: 0,
    default: 5,
    flag: "--health-check-timeout-secs <s>",
    description:
      "seconds in which an upstream has to say how it is; three times late, it is down",
  },
  /** The most requests of a client that are answered at the same time; 0 = no limit. */
  maxParallelRequests: {
    type: "integer",
    minimum: 0,
    default: 0,
    flag: "--max-parallel-requests <n>",
    description:
      "most requests of a key that are answered at the same time; 0 = no limit",
  },
  /** The most requests of a client in a minute; 0 = no limit. */
  requestsPerMinute: {
    type: "integer",
    minimum: 0,
    default: 0,
    flag: "--rpm-limit <n>",
    description: "most requests of a key in a minute; 0 = no limit",
  },
  /** The most tokens of a client in a minute, counted as OpenAI does; 0 = no limit. */
  tokensPerMinute: {
    type: "integer",
    minimum: 0,
    default: 0,
    flag: "--tpm-limit <n>",
    description:
      "most tokens of a key in a minute: a quarter of a prompt's characters, and what its answer may have; 0 = no limit",
  },
  /** The key that upstreams ask for. Default: where the gateway has no keys of its own, the client's. */
  upstreamKey: {
    type: "string",
    description: "the key that upstreams ask for",
    defaultText: "the client's, where the gateway has none of its own",
  },
  /** The longest body of a request, in MiB. */
  bodyLimit: serverOptions.bodyLimit as typeof serverOptions.bodyLimit,
  /** The longest that a request may take, in seconds; 0 = as long as it takes. */
  timeLimit: serverOptions.timeLimit as typeof serverOptions.timeLimit,
  /** Keys, one of which a request has to have. Default: none is needed. */
  apiKeys: serverOptions.apiKeys as typeof serverOptions.apiKeys,
  /** Pages of which origins may ask: `localhost` stands for all of this machine, `*` for all. */
  corsOrigins: serverOptions.corsOrigins as typeof serverOptions.corsOrigins,
  /** Names by which requests may call this machine, beside addresses and localhost; `*` = all. Where there are keys, any. */
  allowedHosts: serverOptions.allowedHosts as typeof serverOptions.allowedHosts,
  /** Gives `/metrics`. */
  metrics: serverOptions.metrics as typeof serverOptions.metrics,
  /** Told of each request that has ended. */
  log: serverOptions.log as typeof serverOptions.log,
  /** Told of what a request could not be blamed for. */
  onError: serverOptions.onError as typeof serverOptions.onError,
  /** Told of upstreams that come, go and fail, in a line each. */
  onChange: {
    schema: v.function("a function") as SchemaOf<(line: string) => void>,
    description: "told of upstreams that come, go and fail, in a line each",
  },
} as const;

/** How a gateway works. Everything may be left out; {@linkcode gatewayOptions} has ranges and defaults. */
export type GatewayOptions = OptionsOf<typeof gatewayOptions>;

/** Options with every default filled in. */
export type CheckedGatewayOptions = Checked<typeof gatewayOptions>;
