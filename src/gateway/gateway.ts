/** One address before several servers, as one function from requests to responses. */
import { checkOptions, shown } from "../options.ts";
import { access, crossOrigin } from "../server/access.ts";
import { answerBy, newApp } from "../server/app.ts";
import { RequestError } from "../server/errors.ts";
import type { ServerApp, ServerBindings } from "../server/server_context.ts";
import { ClientLimits } from "./client_limits.ts";
import { Fleet } from "./fleet.ts";
import { forward, type GatewayContext, noneUp } from "./forward.ts";
import { GatewayMetrics } from "./metrics.ts";
import { type GatewayOptions, gatewayOptions } from "./options.ts";
import { PrefixIndex } from "./prefix_index.ts";
import { Underway } from "./underway.ts";

/** How many blocks of prompts are known: 8 million tokens, about, in some 20 MB. */
const knownBlocks = 2 ** 17;

/** What upstreams are asked for. What they keep from request to request (files, batches), and what steers them, is not. */
const forwarded = {
  GET: ["/props", "/tokenizer_info"],
  POST: [
    "/apply-template",
    "/chat/completions",
    "/chat/completions/input_tokens",
    "/completion",
    "/completions",
    "/detokenize",
    "/embedding",
    "/embeddings",
    "/infill",
    "/responses",
    "/tokenize",
    "/v1/chat/completions",
    "/v1/chat/completions/input_tokens",
    "/v1/completions",
    "/v1/decisions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
  ],
} as const;

/** A gateway without a socket. Close it with `await using`, or by `stop`. */
export interface Gateway extends AsyncDisposable {
  /** Answers a request. It may be detached: `Deno.serve` calls it as it is. */
  readonly fetch: (
    request: Request,
    from?: ServerBindings,
  ) => Promise<Response>;
  /**
   * These are the upstreams from now on. Others get no more requests, and end
   * those that they have.
   *
   * @throws {UsageError} for what is no address of a server
   */
  readonly setUpstreams: (urls: readonly string[]) => void;
  /** The upstreams that there are, and whether each gets requests. */
  readonly upstreams: () => readonly {
    readonly url: string;
    readonly isUp: boolean;
  }[];
  /**
   * Takes no more requests in, and waits until those that are under way have been
   * answered, so many ms at most; then it gives up what still runs.
   */
  readonly stop: (graceMs?: number) => Promise<void>;
}

/**
 * Makes a gateway: one address before several servers of OpenAI's form, such as
 * `culm serve`. A request goes to one that has its model and knows how its prompt
 * begins, unless that is too busy.
 *
 * @throws {UsageError} for options out of range, and what is no address of a server
 *
 * @example
 * ```ts ignore
 * import { createGateway } from "@culm/culm/server";
 *
 * const upstreams = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"];
 * await using gateway = createGateway(upstreams);
 * Deno.serve(gateway.fetch);
 * ```
 */
export function createGateway(
  upstreams: readonly string[],
  options: GatewayOptions = {},
): Gateway {
  const checked = checkOptions("createGateway", gatewayOptions, options);
  const context: GatewayContext = {
    fleet: new Fleet(checked),
    index: new PrefixIndex(knownBlocks),
    limits: new ClientLimits(checked),
    metrics: new GatewayMetrics(),
    underway: new Underway(),
    options: { ...checked, logPrompts: false },
  };
  const { fleet, underway } = context;
  fleet.set(upstreams);
  const app = appOf(context);
  const stop = async (graceMs = Infinity) => {
    await underway.close(graceMs);
    await fleet[Symbol.asyncDispose]();
  };
  return {
    fetch: (request, { client, remoteAddr } = {}) =>
      answerBy(app, request, { client, remoteAddr }, context),
    upstreams: () => fleet.all.map(({ url, isUp }) => ({ url, isUp })),
    setUpstreams: (urls) => fleet.set(urls),
    stop,
    [Symbol.asyncDispose]: () => stop(0),
  };
}

function appOf(context: GatewayContext): ServerApp {
  const { fleet, metrics, underway, options } = context;
  const app = newApp(context);
  app.use(crossOrigin(options), access(options));
  app.on("GET", ["/health", "/v1/health"], async (call) => {
    if (underway.isClosed) {
      throw new RequestError(503, "The gateway is stopping");
    }
    await fleet.ready();
    if (fleet.candidates(undefined).length === 0) throw noneUp(fleet);
    return call.json({ status: "ok" });
  });
  app.on("GET", ["/v1/models", "/models"], async (call) => {
    await fleet.ready();
    return call.json({ object: "list", data: fleet.models() });
  });
  app.get("/v1/models/:id{.+}", async (call) => {
    await fleet.ready();
    const { id } = call.req.param();
    const found = fleet.models().find((card) =>
      card.id === id || card.aliases?.includes(id)
    );
    if (found) return call.json(found);
    throw new RequestError(404, `There is no model ${shown(id)}`, {
      code: "model_not_found",
      param: "model",
    });
  });
  app.get("/metrics", (call) => {
    if (!options.metrics) {
      throw new RequestError(501, "Cannot give metrics: --metrics gives them");
    }
    call.header("content-type", "text/plain; version=0.0.4");
    return call.body(metrics.write(fleet, underway.count));
  });
  for (const [method, paths] of Object.entries(forwarded)) {
    app.on(method, [...paths], (call) => forward(call, context));
  }
  return app;
}
