/** Which headers a gateway passes on. */

/** What belongs to one connection, and not to what is sent by it (RFC 9110, 7.6.1), and the length, which the next one tells by itself. */
const ofConnection = [
  "connection",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

/** What is settled between client and gateway. */
const ofGateway = [
  "accept-encoding",
  "cookie",
  "expect",
  "host",
  "origin",
  "x-request-id",
];

/** What the gateway itself says to pages. */
const ofAnswers = ["content-encoding", "set-cookie", "x-request-id", "vary"];

/** Who asks an upstream, and by which id. */
export interface Sender {
  /** The key to be shown; undefined = what the client shows, null = none */
  readonly key: string | undefined | null;
  readonly id: string;
}

/** A client's headers, as an upstream gets them. */
export function requestHeaders(given: Headers, { key, id }: Sender): Headers {
  const headers = without(given, [...ofConnection, ...ofGateway]);
  if (key !== undefined) {
    headers.delete("authorization");
    headers.delete("x-api-key");
  }
  if (key) headers.set("authorization", `Bearer ${key}`);
  // The gateway's own answers are compressed for clients that like it.
  headers.set("accept-encoding", "identity");
  headers.set("x-request-id", id);
  return headers;
}

/** An upstream's headers, as a client gets them. */
export function answerHeaders(given: Headers): Headers {
  const headers = without(given, [...ofConnection, ...ofAnswers]);
  for (const name of [...headers.keys()]) {
    if (name.startsWith("access-control-")) headers.delete(name);
  }
  return headers;
}

function without(given: Headers, names: readonly string[]): Headers {
  const headers = new Headers(given);
  const named = given.get("connection")?.split(",") ?? [];
  for (const name of [...named.map((each) => each.trim()), ...names]) {
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(name)) headers.delete(name);
  }
  return headers;
}
