/** What routes need to know of the server that they belong to. */
import type { Context, Hono } from "hono";
import type { FileStore } from "./batch/file_store.ts";
import { type RequestError, requestErrorOf } from "./errors.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { Models } from "./models.ts";
import type { CheckedServerOptions } from "./options.ts";
import type { PromptTurns } from "./prompt_turns.ts";
import type { RequestQueue } from "./request_queue.ts";
import type { RequestRecord } from "./request_record.ts";

/** What the routes of a server share. */
export interface ServerContext {
  readonly models: Models;
  readonly queue: RequestQueue;
  readonly prompts: PromptTurns;
  readonly metrics: ServerMetrics;
  readonly files: FileStore;
  readonly options: CheckedServerOptions;
  /** Aborted when the server takes no more requests in: what has no end of its own ends then */
  readonly stopping: AbortSignal;
  /** Aborted when the server gives up what still runs */
  readonly signal: AbortSignal;
}

/** What comes with a request from whoever accepted it: what `Deno.serve` tells its handler, for one. */
export interface ServerBindings {
  /** Who asks, where that is known otherwise. Clients take turns. */
  readonly client?: string;
  /** Where the request came from, if by a socket. */
  readonly remoteAddr?: { readonly hostname: string };
}

/** What routes know of a request beside what it says. */
export interface RequestBindings extends ServerBindings {
  /** To be aborted when nobody waits for its answer any more */
  readonly gone: AbortController;
  readonly record: RequestRecord;
  /** The key by which it was let in, where one is needed */
  key?: string;
  /** Set where its answer is a stream of events */
  isStream?: boolean;
}

/** What Hono is told of the types of this server's routes. */
export interface ServerEnv {
  Bindings: RequestBindings;
}

/** What routes are registered on. */
export type ServerApp = Hono<ServerEnv>;

/** A request on its way through the routes. */
export type ServerCall = Context<ServerEnv>;

/** Who asks, and until when. */
export interface Asker {
  /** Which model; any, where there is one */
  readonly model?: string;
  /** By what requests of the same client are known */
  readonly client: string;
  /** One is aborted when nobody waits for the answer any more */
  readonly signals: readonly AbortSignal[];
  /** What is logged of the request */
  readonly record: RequestRecord;
}

/** By what requests of one client are known as its own: its key, else where it comes from. */
export function clientOf(call: ServerCall): string {
  const { req, env } = call;
  return env.key ?? req.header("authorization") ?? req.header("x-api-key") ??
    provenClientOf(call);
}

/** By what a client is known that cannot choose it: the key that let it in, else where it comes from. */
export function provenClientOf({ env }: ServerCall): string {
  return env.key ?? env.client ?? env.remoteAddr?.hostname ?? "";
}

/**
 * Aborted when nobody waits for the answer to a request any more. Of requests that
 * came by a socket, their own signal says nothing: Deno's abort when they have
 * been answered, too, and do not when a client goes away that has sent a long
 * body. What cannot be sent to it says it in any case.
 */
export function signalsOf({ req, env }: ServerCall): readonly AbortSignal[] {
  const { gone: { signal } } = env;
  return env.remoteAddr ? [signal] : [signal, req.raw.signal];
}

/** Who asks, for which model. */
export function askerOf(call: ServerCall, model?: string): Asker {
  const { record } = call.env;
  return { model, client: clientOf(call), signals: signalsOf(call), record };
}

/** Who is told of requests and errors. */
export interface Told {
  readonly options: Pick<
    CheckedServerOptions,
    "log" | "logPrompts" | "onError"
  >;
}

/** What a client is told of an error; what no request is to blame for is reported. */
export function failureOf(error: unknown, { options }: Told): RequestError {
  const failure = requestErrorOf(error);
  if (failure.status === 500) options.onError?.(error);
  return failure;
}
