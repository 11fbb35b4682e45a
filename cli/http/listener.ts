/** A socket that a server listens on, also after open files ran short. */
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { CulmError } from "../../mod.ts";
import type { CulmServer } from "../../server.ts";
import { formatSystemError } from "../format.ts";
import { note } from "../terminal.ts";

/** What answers requests: a server, or a gateway. */
export type Answering = Pick<CulmServer, "fetch">;

/** Where to listen, and by what certificate. */
export type Where =
  & { readonly hostname: string; readonly port: number }
  & Partial<Deno.TlsCertifiedKeyPem>;

/** Before each attempt to listen anew, in ms: connections end meanwhile. */
const pause = 100;

/**
 * Listens until it is closed. `Deno.serve` ends where it cannot accept a
 * connection, which is so where the process has as many files open as it may.
 * Connections without a request are closed then, those with one go on, and it is
 * listened anew.
 */
export class Listener {
  address!: Deno.NetAddr;
  readonly #closing = new AbortController();
  readonly #ends: Promise<void>[] = [];
  #http!: Deno.HttpServer<Deno.NetAddr>;

  private constructor(readonly server: Answering, readonly where: Where) {}

  /** @throws {CulmError} where nobody can listen there */
  static async open(server: Answering, where: Where): Promise<Listener> {
    const listener = new Listener(server, where);
    await listener.#listen(where.port);
    listener.address = listener.#http.addr;
    return listener;
  }

  /** Accepts nobody any more. What has been answered has so many ms to reach its client. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort();
    this.#end();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, graceMs);
    await Promise.race([Promise.all(this.#ends), late]);
    clearTimeout(timer);
  }

  /** @throws {CulmError} where nobody can listen there */
  async #listen(port: number): Promise<void> {
    this.#http = await serve(this.server, { ...this.where, port });
    this.#http.finished.catch((error) => this.#listenAnew(error));
    if (this.#closing.signal.aborted) this.#end(); // Meanwhile.
  }

  async #listenAnew(error: Error): Promise<void> {
    note(
      `warning: Cannot accept a connection: ${
        formatSystemError(error).replace(/^Error: /, "")
      }; those without a request are closed`,
    );
    this.#end();
    while (!this.#closing.signal.aborted) {
      await delay(pause);
      try {
        return await this.#listen(this.address.port);
      } catch {
        // There is still no file to be had.
      }
    }
  }

  /** Lets connections end when they have been answered. */
  #end(): void {
    this.#ends.push(this.#http.shutdown().catch(() => {}));
  }
}

/** @throws {CulmError} where nobody can listen there */
async function serve(
  { fetch }: Answering,
  where: Where,
): Promise<Deno.HttpServer<Deno.NetAddr>> {
  try {
    const listening = Promise.withResolvers<void>();
    const onListen = () => listening.resolve();
    const http = Deno.serve({ ...where, onListen }, fetch);
    await Promise.race([listening.promise, http.finished]);
    return http;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const why = error instanceof Deno.errors.AddrInUse
      ? "another program does; --port takes another"
      : formatSystemError(error as Error);
    const { hostname, port } = where;
    throw new CulmError(`Cannot listen on ${hostname}:${port}: ${why}`);
  }
}
