/** What every request goes through, whatever answers it: its record, its id, errors in its dialect. */
import { Hono } from "hono";
import {
  errorResponse as anthropicError,
  isAnthropic,
} from "./anthropic/form.ts";
import { errorResponse, nothingAt } from "./errors.ts";
import { RequestRecord } from "./request_record.ts";
import {
  failureOf,
  type ServerApp,
  type ServerBindings,
  type ServerEnv,
  type Told,
} from "./server_context.ts";

/** Nothing but errors, which are told in the form of the path's dialect. */
export function newApp(context: Told): ServerApp {
  const app = new Hono<ServerEnv>();
  app.notFound(({ req }) => {
    throw nothingAt(req);
  });
  return app.onError((error, { req: { path }, env }) => {
    env.record.fail(error);
    const failure = failureOf(error, context);
    return isAnthropic(path) ? anthropicError(failure) : errorResponse(failure);
  });
}

/** Has an app answer a request, and keeps a record of it. */
export async function answerBy(
  app: ServerApp,
  request: Request,
  from: ServerBindings,
  context: Told,
): Promise<Response> {
  const record = recordOf(request, context);
  using _ = record.hold();
  const gone = new AbortController();
  const response = await app.fetch(request, { ...from, record, gone });
  record.status = response.status;
  tellId(response, record);
  return response;
}

/** What is to be known of a request, and logged where somebody listens. */
function recordOf(request: Request, { options }: Told): RequestRecord {
  const { log, logPrompts, onError } = options;
  return new RequestRecord(request, logPrompts, (entry) => {
    try {
      log?.(entry);
    } catch (error) {
      onError?.(error);
    }
  });
}

/** Names a request in its answer, as OpenAI's clients read it, and Anthropic's. */
function tellId({ headers }: Response, { id, path }: RequestRecord): void {
  headers.set("x-request-id", id);
  if (isAnthropic(path)) headers.set("request-id", id);
}
