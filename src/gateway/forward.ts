/** A request on its way to an upstream, and its answer on the way back. */
import { followAborts } from "../platform/abort.ts";
import { Taken } from "../platform/opened.ts";
import { isAnthropic } from "../server/anthropic/form.ts";
import { checkObject, parseBody, readBytes } from "../server/body.ts";
import { RequestError } from "../server/errors.ts";
import {
  provenClientOf,
  type ServerCall,
  signalsOf,
} from "../server/server_context.ts";
import { answerTokens } from "./answer_tokens.ts";
import type { ClientLimits } from "./client_limits.ts";
import type { Fleet } from "./fleet.ts";
import { answerHeaders, requestHeaders } from "./headers.ts";
import type { GatewayMetrics } from "./metrics.ts";
import type { CheckedGatewayOptions } from "./options.ts";
import { passedOn } from "./passed_on.ts";
import type { PrefixIndex } from "./prefix_index.ts";
import { blockHashes, hashOf, promptText } from "./prompt_blocks.ts";
import { type Asked, route } from "./route.ts";
import type { Underway } from "./underway.ts";
import type { Upstream } from "./upstream.ts";

/** What the routes of a gateway share. */
export interface GatewayContext {
  readonly fleet: Fleet;
  readonly index: PrefixIndex;
  readonly limits: ClientLimits;
  readonly metrics: GatewayMetrics;
  readonly underway: Underway;
  readonly options: CheckedGatewayOptions & { readonly logPrompts: false };
}

/** What is known of a request beside its bytes. */
interface Forwarded extends Asked {
  readonly model?: string;
  /** What it may take, as OpenAI counts it for its limits */
  readonly tokens: number;
}

/**
 * Has an upstream answer a request. Until one has begun to, others are asked in
 * its place where it fails, is down, or says that it cannot now.
 *
 * @throws {RequestError} where none can, or the request may not
 */
export async function forward(
  call: ServerCall,
  context: GatewayContext,
): Promise<Response> {
  const { env } = call;
  const held = new Taken();
  const giveUp = new AbortController();
  try {
    held.use(env.record.hold());
    held.use(context.underway.enter(giveUp));
    held.use(followAborts(giveUp, signalsOf(call)));
    const body = call.req.method === "POST"
      ? await readBytes(call, context)
      : undefined;
    const asked = forwardedOf(call, body, context);
    env.record.model = asked.model;
    held.use(context.limits.enter(provenClientOf(call), asked.tokens));
    held.use(timeLimit(giveUp, context.options.timeLimit));
    await context.fleet.ready();
    const { response, upstream, taken } = await firstAnswer(
      call,
      body,
      asked,
      context,
      giveUp,
    );
    held.use(taken);
    env.record.upstream = upstream.url;
    return passedOn(response, {
      headers: answerHeaders(response.headers),
      isAnthropic: isAnthropic(call.req.path),
      signal: giveUp.signal,
      onEnd(error) {
        if (error) env.record.fail(error);
        if (error && !giveUp.signal.aborted) upstream.doubt();
        held[Symbol.dispose]();
      },
    });
  } catch (error) {
    held[Symbol.dispose]();
    throw error;
  }
}

/** Aborts something after so many seconds, unless it is disposed of before; 0 = never. */
function timeLimit(giveUp: AbortController, seconds: number): Disposable {
  const error = new RequestError(
    504,
    `Cannot answer: it takes more than ${seconds} seconds`,
  );
  const timer = seconds > 0
    ? setTimeout(() => giveUp.abort(error), 1000 * seconds)
    : undefined;
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** What its body says of where a request belongs. */
function forwardedOf(
  { req }: ServerCall,
  bytes: Uint8Array | undefined,
  { options }: GatewayContext,
): Forwarded {
  if (!bytes) return { blocks: [], tokens: 0 };
  const body = parseBody(bytes);
  checkObject(body);
  const model = typeof body.model === "string" ? body.model : undefined;
  const prompt = promptText(body);
  const session = [
    req.header(options.sessionHeader),
    body.prompt_cache_key,
    body.user,
  ].find((key) => typeof key === "string" && key !== "");
  return {
    model,
    session: session === undefined ? undefined : hashOf(`session ${session}`),
    blocks: blockHashes(prompt, model ?? ""),
    tokens: Math.ceil(prompt.length / 4) + answerTokens(body),
  };
}

/** An answer that has begun, by whom, and what is held of that. */
interface Begun {
  readonly response: Response;
  readonly upstream: Upstream;
  readonly taken: Disposable;
}

/** The answer of the first upstream that has one; of those that cannot answer now, what the last says. */
async function firstAnswer(
  call: ServerCall,
  body: Uint8Array<ArrayBuffer> | undefined,
  asked: Forwarded,
  { fleet, index, metrics, options }: GatewayContext,
  giveUp: AbortController,
): Promise<Begun> {
  const { balanceThreshold: threshold, maxRetries } = options;
  const tried = new Set<Upstream>();
  let refused: Begun | undefined;
  try {
    for (;;) {
      const [first, ...others] = fleet.candidates(asked.model, tried);
      if (!first || tried.size > maxRetries) {
        if (refused) return refused;
        throw noneUp(fleet, tried.size);
      }
      const { random } = Math;
      const candidates = [first, ...others] as const;
      const upstream = route(candidates, asked, index, { threshold, random });
      if (tried.size > 0) metrics.retried++;
      tried.add(upstream);
      const begun = await begin(call, body, upstream, options, giveUp);
      if (!begun) {
        upstream.doubt();
        continue;
      }
      await giveBack(refused);
      if (!isRefusal(begun.response)) return begun;
      refused = begun;
    }
  } catch (error) {
    await giveBack(refused);
    throw error;
  }
}

/** None of the upstreams can answer, or could. */
export function noneUp({ all }: Fleet, tried = 0): RequestError {
  const why = tried > 0
    ? `${tried} of ${all.length} upstreams could not`
    : `none of ${all.length} upstreams is up`;
  return new RequestError(503, `Cannot answer now: ${why}`, { retryAfter: 1 });
}

/** Whether an upstream cannot answer now, but another could: it is full, being loaded, or stopping. */
function isRefusal({ status }: Response): boolean {
  return status === 502 || status === 503;
}

async function giveBack(begun: Begun | undefined): Promise<void> {
  begun?.taken[Symbol.dispose]();
  await begun?.response.body?.cancel().catch(() => {});
}

/**
 * Sends a request to an upstream, and waits for the head of its answer;
 * undefined where none comes.
 *
 * @throws what `giveUp` was aborted with
 */
async function begin(
  { req, env }: ServerCall,
  body: Uint8Array<ArrayBuffer> | undefined,
  upstream: Upstream,
  { apiKeys, upstreamKey }: CheckedGatewayOptions,
  giveUp: AbortController,
): Promise<Begun | undefined> {
  const { pathname, search } = new URL(req.url);
  const taken = upstream.take();
  const controller = new AbortController();
  const following = followAborts(controller, [giveUp.signal]);
  // What has begun may go on where it is late with saying how it is.
  using _ = followAborts(controller, [upstream.lost]);
  try {
    const response = await fetch(`${upstream.url}${pathname}${search}`, {
      method: req.method,
      headers: requestHeaders(req.raw.headers, {
        key: upstreamKey ?? (apiKeys?.length ? null : undefined),
        id: env.record.id,
      }),
      body,
      redirect: "manual",
      signal: controller.signal,
    });
    upstream.answered++;
    return {
      response,
      upstream,
      taken: {
        [Symbol.dispose]() {
          following[Symbol.dispose]();
          taken[Symbol.dispose]();
        },
      },
    };
  } catch {
    following[Symbol.dispose]();
    taken[Symbol.dispose]();
    giveUp.signal.throwIfAborted();
    upstream.failed++;
    return undefined;
  }
}
