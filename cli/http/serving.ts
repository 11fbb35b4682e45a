/** Listening on the addresses of the flags, until it is enough. */
import type { CulmServer } from "../../server.ts";
import { note } from "../terminal.ts";
import { hostInUrl, hostsOf, isLoopback } from "./addresses.ts";
import { type Answering, Listener, type Where } from "./listener.ts";
import type { HttpFlags } from "./options.ts";

/** When it is enough, and what has to be there before. */
export interface Serving {
  readonly hasKeys: boolean;
  readonly tls: Partial<Deno.TlsCertifiedKeyPem>;
  /** Aborted when it is enough */
  readonly signal: AbortSignal;
  /** Done when requests are answered, at these addresses: until then they are told so */
  readonly ready?: (urls: readonly string[]) => Promise<void>;
}

/** What is left to the last answers to reach their clients, in ms. */
const lastWords = 1000;

/**
 * Listens until it is told to stop; then answers under way have `--stop-timeout` to end.
 *
 * @throws {CulmError} where nobody can listen there
 */
export async function serveUntilStopped(
  server: Pick<CulmServer, "fetch" | "stop">,
  { host, port, grace }: HttpFlags,
  { hasKeys, tls, signal, ready }: Serving,
): Promise<void> {
  const listeners = await listenAll(server, hostsOf(host), { port, ...tls });
  const addresses = listeners.map(({ address }) => address);
  if (!hasKeys && !addresses.every(({ hostname }) => isLoopback(hostname))) {
    note(
      `note: whoever reaches ${host} may ask; --api-key-file keeps others out`,
    );
  }
  try {
    const urls = addresses.map((address) =>
      urlOf(address, tls.cert !== undefined)
    );
    await ready?.(urls);
    for (const url of urls) note(`listening on ${url}`);
    await aborted(signal);
    note("stopping: answers under way are written to their end");
    await server.stop(1000 * grace);
  } finally {
    await closeAll(listeners);
  }
}

/**
 * Listens on all addresses, at one port.
 *
 * @throws {CulmError} where nobody can listen there
 */
async function listenAll(
  server: Answering,
  hosts: readonly string[],
  where: Omit<Where, "hostname">,
): Promise<Listener[]> {
  const listeners: Listener[] = [];
  let { port } = where;
  try {
    for (const hostname of hosts) {
      const listener = await Listener.open(server, {
        ...where,
        hostname,
        port,
      });
      listeners.push(listener);
      // What is free for the first is asked for on the others.
      port = listener.address.port;
    }
  } catch (error) {
    await closeAll(listeners);
    throw error;
  }
  return listeners;
}

async function closeAll(listeners: readonly Listener[]): Promise<void> {
  await Promise.all(listeners.map((each) => each.close(lastWords)));
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) =>
    signal.addEventListener("abort", resolve, { once: true })
  );
}

function urlOf({ hostname, port }: Deno.NetAddr, isSafe: boolean): string {
  return `http${isSafe ? "s" : ""}://${hostInUrl(hostname)}:${port}`;
}
