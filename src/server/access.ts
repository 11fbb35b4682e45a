/**
 * Who may ask. A page of a stranger that somebody on this machine looks at is
 * kept out by the names of hosts (DNS rebinding) and by origins; others by keys.
 */
import type { MiddlewareHandler } from "hono";
import { RequestError } from "./errors.ts";
import type { CheckedServerOptions } from "./options.ts";
import { isOfPage } from "./page.ts";
import type { ServerEnv } from "./server_context.ts";

/** What needs no key, beside the page, which asks for one: whether the server is there says nothing of anybody. */
const open: ReadonlySet<string> = new Set(["/health", "/v1/health"]);

/** Whose pages may ask where nobody says. */
const usualOrigins: readonly string[] = ["localhost"];

/** What says who may ask. */
export type AccessOptions = Pick<
  CheckedServerOptions,
  "apiKeys" | "allowedHosts" | "corsOrigins"
>;

const methods = "GET, POST, DELETE, OPTIONS";

/** What pages may read of an answer's headers beside those that any may. */
const exposed = "retry-after, x-request-id";

/** Seconds for which a browser need not ask again what it may send. */
const preflightAge = 3600;

/** Tells browsers whose pages may read the answers, and what these may send. */
export function crossOrigin(
  { corsOrigins = usualOrigins }: AccessOptions,
): MiddlewareHandler {
  const mayRead = readersOf(corsOrigins);
  return async (call, next) => {
    const { req } = call;
    const origin = req.header("origin");
    if (req.method !== "OPTIONS") await next();
    else {
      if (mayRead(origin)) {
        const headers = req.header("access-control-request-headers") ?? "*";
        call.header("access-control-allow-headers", headers);
        call.header("access-control-allow-methods", methods);
        call.header("access-control-max-age", String(preflightAge));
      }
      call.res = call.body(null, 200);
    }
    // Behind the others: their responses come without what was set before them.
    if (!mayRead(origin)) return;
    call.header("access-control-allow-origin", origin);
    call.header("access-control-expose-headers", exposed);
    call.header("vary", "Origin");
  };
}

/** Lets those requests through that may be answered, and notes by which key. */
export function access(
  { apiKeys = [], allowedHosts = [], corsOrigins = usualOrigins }:
    AccessOptions,
): MiddlewareHandler<ServerEnv> {
  const keys = Promise.all(apiKeys.map(digest));
  const hosts = new Set(allowedHosts.map((host) => host.toLowerCase()));
  const mayRead = readersOf(corsOrigins);
  return async ({ req, env }, next) => {
    if (!URL.canParse(req.url)) {
      throw new RequestError(
        400,
        "Cannot answer: the request's Host, or its target, is no part of a URL",
      );
    }
    const url = new URL(req.url);
    const origin = req.header("origin");
    if (apiKeys.length === 0 && !isHost(url.hostname, hosts)) {
      throw new RequestError(
        403,
        `Cannot answer requests to ${url.hostname}: pages could be made to send them; --allowed-hosts allows the name`,
      );
    }
    if (origin !== undefined && !mayRead(origin) && !isSame(origin, url)) {
      throw new RequestError(
        403,
        `Cannot answer pages of ${origin}: --cors-origins allows them`,
      );
    }
    const { pathname } = url;
    const isOpen = open.has(pathname) || isOfPage(pathname);
    if (apiKeys.length > 0 && !isOpen) {
      const given = bearer(req.header("authorization")) ??
        req.header("x-api-key");
      if (given === undefined || !isKnown(await digest(given), await keys)) {
        throw new RequestError(
          401,
          given === undefined
            ? "Cannot answer without an API key: send Authorization: Bearer KEY"
            : "Cannot answer: the API key is not one of this server's",
          { code: "invalid_api_key" },
        );
      }
      env.key = given;
    }
    await next();
  };
}

/** The key of `Bearer KEY`. */
function bearer(header: string | undefined): string | undefined {
  return /^bearer +(.+)$/i.exec(header ?? "")?.[1];
}

async function digest(key: string): Promise<Uint8Array> {
  const bytes = new TextEncoder().encode(key);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Whether a digest is among those of `keys`; takes as long whatever they have in common. */
function isKnown(given: Uint8Array, keys: readonly Uint8Array[]): boolean {
  let known = 0;
  for (const key of keys) {
    let difference = 0;
    key.forEach((byte, i) => difference |= byte ^ given[i]);
    known |= Number(difference === 0);
  }
  return known === 1;
}

/** Whether a host cannot be a name that a stranger has pointed here. */
function isHost(hostname: string, allowed: ReadonlySet<string>): boolean {
  return isLocal(hostname) || isAddress(hostname) || allowed.has("*") ||
    allowed.has(hostname);
}

/** A number of IPv4 or IPv6, as URLs have it. */
function isAddress(hostname: string): boolean {
  return hostname.startsWith("[") || /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
}

function isLocal(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") ||
    hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Tells whether pages of an origin may ask, and read answers: those of the list, where `localhost` stands for all of this machine. */
function readersOf(
  list: readonly string[],
): (origin?: string) => boolean {
  const origins = new Set(list);
  return (origin) => {
    if (origin === undefined) return false;
    if (origins.has("*") || origins.has(origin)) return true;
    if (!origins.has("localhost") || !URL.canParse(origin)) return false;
    return isLocal(new URL(origin).hostname);
  };
}

/** Whether a page is this server's own. */
function isSame(origin: string, { host }: URL): boolean {
  return URL.canParse(origin) && new URL(origin).host === host;
}
