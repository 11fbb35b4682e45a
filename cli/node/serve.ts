/** Deno's HTTP server, of Node's. */
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { later } from "./errors.ts";

type Options =
  & Pick<Deno.ServeTcpOptions, "hostname" | "port" | "signal">
  & Partial<Deno.TlsCertifiedKeyPem>
  & { readonly onListen: () => void };

type Fetch = (request: Request) => Response | Promise<Response>;

/** Listens; `finished` fails where nobody can listen there. */
export function serve(
  { hostname, port, signal, cert, key, onListen }: Options,
  fetch: Fetch,
) {
  const listener = getRequestListener(fetch);
  const server = cert === undefined
    ? http.createServer(listener)
    : https.createServer({ cert, key }, listener);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.once("close", resolve);
  server.listen({ port, host: hostname }, onListen);
  const finished = later(promise);
  const shutdown = async () => {
    server.close();
    await finished;
  };
  signal?.addEventListener("abort", () => server.closeAllConnections());
  return {
    finished,
    shutdown,
    get addr() {
      const { address, port } = server.address() as AddressInfo;
      return { transport: "tcp" as const, hostname: address, port };
    },
  };
}
