/** What is wrong with a request, or why it cannot be answered now: the same for all dialects, which differ in its form. */
import {
  ContextError,
  CulmError,
  LimitError,
  MemoryError,
  TokenizerError,
  UnsupportedError,
  UsageError,
} from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";

/** What kind of error a status stands for, as llama.cpp and OpenAI name it. */
const types: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  405: "invalid_request_error",
  408: "timeout_error",
  409: "invalid_request_error",
  413: "invalid_request_error",
  429: "rate_limit_error",
  499: "aborted_error",
  500: "server_error",
  501: "not_supported_error",
  502: "server_error",
  503: "unavailable_error",
  504: "timeout_error",
};

/** What an answer says of an error beside its message. */
export interface RequestErrorDetails extends ErrorOptions {
  /** The field of the request that is to blame: `messages[0].content` */
  readonly param?: string;
  /** A word for programs; the status where it is left out */
  readonly code?: string;
  /** What kind of error it is; the status' own where it is left out */
  readonly type?: string;
  /** After how many seconds a client may come back */
  readonly retryAfter?: number;
  /** More that a program may want to know, such as the two numbers that disagree */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** A request that is not answered, with the HTTP status that says so. */
export class RequestError extends CulmError {
  /** What kind of error it is */
  readonly type: string;

  /** `message` is for people, and names what is to be changed. */
  constructor(
    readonly status: number,
    message: string,
    readonly details: RequestErrorDetails = {},
  ) {
    super(message, details);
    this.type = details.type ?? types[status];
  }
}

/** Whatever went wrong, as a client is told of it. */
export function requestErrorOf(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  const cause = error;
  const by = (status: number, details: RequestErrorDetails = {}) =>
    new RequestError(status, (error as Error).message, { cause, ...details });
  if (error instanceof ContextError) {
    return by(400, {
      type: "exceed_context_size_error",
      code: "context_length_exceeded",
      more: {
        n_prompt_tokens: error.sizes?.tokens,
        n_ctx: error.sizes?.contextSize,
      },
    });
  }
  if (error instanceof MemoryError) return by(503, { retryAfter: 1 });
  if (error instanceof UsageError || error instanceof LimitError) {
    return by(400);
  }
  if (error instanceof UnsupportedError || error instanceof TokenizerError) {
    return by(501);
  }
  if (error instanceof CulmError) return by(500);
  if (error instanceof DOMException && error.name === "AbortError") {
    return new RequestError(499, "The request was given up", { cause });
  }
  return new RequestError(500, "Cannot answer: an unexpected error", { cause });
}

/** The headers that an error comes with. */
export function errorHeaders({ details }: RequestError): HeadersInit {
  const { retryAfter } = details;
  return retryAfter === undefined ? {} : { "retry-after": String(retryAfter) };
}

/** An error's body, as OpenAI's and llama.cpp's clients know it. */
export function errorBody({ status, message, type, details }: RequestError) {
  const { param = null, code = status, more } = details;
  return { error: { code, message, type, param, ...more } };
}

/** The same as a response. */
export function errorResponse(error: RequestError): Response {
  return Response.json(errorBody(error), {
    status: error.status,
    headers: errorHeaders(error),
  });
}

/** @throws {RequestError} 400, for a field that a request lacks */
export function missing(param: string): never {
  throw new RequestError(400, `Cannot answer: ${param} is missing`, { param });
}

/** There is nothing at a path. */
export function nothingAt(
  { method, path }: { readonly method: string; readonly path: string },
): RequestError {
  const where = `${method} ${printable(path)}`;
  return new RequestError(404, `There is nothing at ${where}`);
}

/** What cannot be done is refused by the name of the field that asks for it. */
export function refuse(param: string, why: string): never {
  throw new RequestError(501, `Cannot use ${param}: ${why}`, { param });
}
