/** A server as one function from requests to responses, over a model. */
import { FileStore } from "./batch/file_store.ts";
import { access, crossOrigin } from "./access.ts";
import { answerBy, newApp } from "./app.ts";
import { countTokensRoutes } from "./anthropic/count_tokens.ts";
import { messageRoutes } from "./anthropic/messages.ts";
import { RequestError } from "./errors.ts";
import { LanguageModel } from "../generate/language_model.ts";
import { lateAnswer } from "./late_answer.ts";
import { llamaCompletionRoutes } from "./llama/completion.ts";
import { healthRoutes } from "./llama/health.ts";
import { infillRoutes } from "./llama/infill.ts";
import { metricsRoutes } from "./llama/metrics.ts";
import { propsRoutes } from "./llama/props.ts";
import { templateRoutes } from "./llama/template.ts";
import { tokenizeRoutes } from "./llama/tokenize.ts";
import { ServerMetrics } from "./metrics.ts";
import { type Catalogue, ModelCatalogue } from "./model_catalogue.ts";
import { type Models, OneModel } from "./models.ts";
import { batchRoutes } from "./openai/batches.ts";
import { chatRoutes } from "./openai/chat.ts";
import { decisionRoutes } from "./openai/decisions.ts";
import { embeddingRoutes } from "./openai/embeddings.ts";
import { completionRoutes } from "./openai/completions.ts";
import { fileRoutes } from "./openai/files.ts";
import { modelRoutes } from "./openai/models.ts";
import { neuronRoutes } from "./neurons.ts";
import { responseRoutes } from "./openai/responses.ts";
import {
  type CheckedServerOptions,
  type ServerOptions,
  serverOptions,
} from "./options.ts";
import { pageRoutes } from "./page.ts";
import { checkOptions } from "../options.ts";
import { PromptTurns } from "./prompt_turns.ts";
import { RequestQueue } from "./request_queue.ts";
import type {
  ServerApp,
  ServerBindings,
  ServerContext,
} from "./server_context.ts";

/** A server without a socket. Close it with `await using`, or by `stop`; the model stays open. */
export interface CulmServer extends AsyncDisposable {
  /**
   * Answers a request. It may be detached: `new OpenAI({ fetch: … })` or
   * `Deno.serve` call it as it is.
   */
  readonly fetch: (
    request: Request,
    from?: ServerBindings,
  ) => Promise<Response>;
  /**
   * Takes no more requests in, and waits until those that are under way have been
   * answered, so many ms at most; then it gives up what still runs.
   */
  readonly stop: (graceMs?: number) => Promise<void>;
}

/**
 * Makes a server that answers OpenAI's clients, and llama.cpp's, with a model.
 * While it is being loaded, requests are refused with 503. Of a catalogue of
 * models, each is loaded when it is asked for by its name, which requests wait
 * for; the server closes those.
 *
 * @throws {UsageError} for options out of range
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { createServer } from "@culm/culm/server";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo(), { threads: 0 });
 * await using server = createServer(model);
 * const body = JSON.stringify({ prompt: "Tom had a", max_tokens: 8 });
 * const url = "http://localhost/v1/completions";
 * const response = await server.fetch(new Request(url, { method: "POST", body }));
 * console.log((await response.json()).choices[0].text);
 * ```
 */
export function createServer(
  models: LanguageModel | PromiseLike<LanguageModel> | Catalogue,
  options: ServerOptions = {},
): CulmServer {
  const checked = checkOptions("createServer", serverOptions, options);
  const stopping = new AbortController(), giveUp = new AbortController();
  const metrics = new ServerMetrics();
  const context: ServerContext = {
    models: modelsOf(models, checked, metrics),
    queue: new RequestQueue(checked.parallel, checked.queueLimit),
    prompts: new PromptTurns(),
    metrics,
    files: new FileStore(Math.floor(checked.filesLimit * 2 ** 20)),
    options: checked,
    stopping: stopping.signal,
    signal: giveUp.signal,
  };
  const app = appOf(context);
  const stop = async (graceMs = Infinity) => {
    const reason = new RequestError(503, "The server was stopped");
    const timer = graceMs < Infinity
      ? setTimeout(() => giveUp.abort(reason), graceMs)
      : undefined;
    stopping.abort();
    await context.queue.close();
    clearTimeout(timer);
    await context.models[Symbol.asyncDispose]();
  };
  return {
    fetch: async (request, { client, remoteAddr } = {}) => {
      const from = { client, remoteAddr };
      return await answerBy(app, request, from, context);
    },
    stop,
    [Symbol.asyncDispose]: () => stop(0),
  };
}

function modelsOf(
  models: LanguageModel | PromiseLike<LanguageModel> | Catalogue,
  options: CheckedServerOptions,
  metrics: ServerMetrics,
): Models {
  return isOne(models)
    ? new OneModel(models, options.aliases)
    : new ModelCatalogue(models, options, (model) => metrics.retire(model));
}

function isOne(
  models: LanguageModel | PromiseLike<LanguageModel> | Catalogue,
): models is LanguageModel | PromiseLike<LanguageModel> {
  return models instanceof LanguageModel || typeof models.then === "function";
}

/** All that is done for a request before its route is, and with its answer after. */
function appOf(context: ServerContext): ServerApp {
  const app = newApp(context);
  const { options } = context;
  const routes = routesOf(context);
  app.use(crossOrigin(options), access(options));
  app.all("*", ({ req, env }) => {
    const held = env.record.hold();
    const work = Promise.resolve(routes.fetch(req.raw, env))
      .finally(() => held[Symbol.dispose]());
    return lateAnswer(work, {
      pingInterval: options.pingInterval,
      isStream: () => env.isStream ?? false,
      onGone: () => env.gone.abort(),
    });
  });
  return app;
}

/** All routes. */
function routesOf(context: ServerContext): ServerApp {
  const app = newApp(context);
  for (
    const register of [
      batchRoutes,
      chatRoutes,
      completionRoutes,
      countTokensRoutes,
      decisionRoutes,
      embeddingRoutes,
      fileRoutes,
      healthRoutes,
      infillRoutes,
      llamaCompletionRoutes,
      messageRoutes,
      metricsRoutes,
      modelRoutes,
      neuronRoutes,
      pageRoutes,
      propsRoutes,
      responseRoutes,
      templateRoutes,
      tokenizeRoutes,
    ]
  ) register(app, context);
  return app;
}
