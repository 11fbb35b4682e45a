/** The page that browsers are shown: chats, and which neurons fire. */
import { sha256 } from "../bytes/sha256.ts";
import { nothingAt } from "./errors.ts";
import type { ServerApp, ServerCall, ServerContext } from "./server_context.ts";

/** Under which path lie the files that the page consists of. */
const folder = "/assets/";

const types: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** What the page may do: run its own scripts and ask its own server, no more. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  // Asked for each time, and answered by 304 as long as they are the same.
  "cache-control": "no-cache",
};

/** Whether a path is one of the page's, which says nothing of anybody. */
export function isOfPage(path: string): boolean {
  return path === "/" || path === "/index.html" || path.startsWith(folder);
}

/** Registers the page at `/`, unless it is not wanted. */
export function pageRoutes(app: ServerApp, { options }: ServerContext): void {
  if (!options.ui) return;
  app.on("GET", ["/", "/index.html"], (call) => answer(call, "index.html"));
  app.get(
    `${folder}:file`,
    (call) => answer(call, call.req.param("file")),
  );
}

async function answer({ req }: ServerCall, name: string): Promise<Response> {
  const { default: files } = await import("./page_files.ts");
  if (!Object.hasOwn(files, name)) {
    throw nothingAt(req);
  }
  const text = files[name];
  const etag = await tagOf(text);
  const known = req.header("if-none-match") ?? "";
  if (known.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag)) {
    return new Response(null, { status: 304, headers: { ...headers, etag } });
  }
  const type = types[name.slice(name.lastIndexOf(".") + 1)];
  return new Response(text, {
    headers: { ...headers, etag, "content-type": type },
  });
}

async function tagOf(text: string): Promise<string> {
  const digest = await sha256(new TextEncoder().encode(text));
  return `"${digest.slice(0, 32)}"`;
}
