/** What Anthropic's answers have in common. */
import { errorHeaders, type RequestError } from "../errors.ts";

/** Its words for kinds of errors; those of a status that it has none for are `api_error`. */
const types: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
};

/** What cannot be done is its client's fault: it would come back with the same after 501. */
function statusOf({ status }: RequestError): number {
  return status === 501 ? 400 : status;
}

/** Of a prompt that is too long, clients read both numbers to shorten it: in Anthropic's own words. */
function messageOf({ type, message, details }: RequestError): string {
  if (type !== "exceed_context_size_error") return message;
  const { n_prompt_tokens: tokens, n_ctx: context } = details.more ?? {};
  return typeof tokens === "number" && typeof context === "number"
    // One position is the answer's.
    ? `prompt is too long: ${tokens} tokens > ${context - 1} maximum`
    : `prompt is too long: ${message}`;
}

/** An error's body. */
export function errorBody(error: RequestError) {
  const type = types[statusOf(error)] ?? "api_error";
  return { type: "error", error: { type, message: messageOf(error) } };
}

/** An error's response. */
export function errorResponse(error: RequestError): Response {
  return Response.json(errorBody(error), {
    status: statusOf(error),
    headers: errorHeaders(error),
  });
}

/** Whether a path's errors have this form. */
export function isAnthropic(path: string): boolean {
  return /^\/v1\/messages(\/|$)/.test(path);
}
