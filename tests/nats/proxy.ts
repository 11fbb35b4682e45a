/** A way to a server that can be cut off: what is sent then lies there, as where a network is parted. */
export class Proxy implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.Conn>();
  #open = Promise.resolve();
  #join = () => {};

  constructor(readonly target: number, readonly hostname = "127.0.0.1") {
    this.#listener = Deno.listen({ hostname, port: 0 });
    this.#accept();
  }

  get url(): string {
    return `nats://${this.hostname}:${this.#listener.addr.port}`;
  }

  /** Lets nothing through, until {@linkcode join}. */
  part(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#open = promise;
    this.#join = resolve;
  }

  join(): void {
    this.#join();
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      Deno.connect({ hostname: "127.0.0.1", port: this.target }).then(
        (server) => {
          this.#copy(client, server);
          this.#copy(server, client);
        },
        () => client.close(), // It is not there now.
      );
    }
  }

  async #copy(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    this.#connections.add(from);
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        const length = await from.read(buffer);
        if (length === null) break;
        await this.#open;
        for (let at = 0; at < length;) {
          at += await to.write(buffer.subarray(at, length));
        }
      }
    } catch {
      // One of both has gone.
    }
    this.#connections.delete(from);
    for (const each of [from, to]) {
      try {
        each.close();
      } catch {
        // It is closed.
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#join();
    this.#listener.close();
    for (const each of this.#connections) each.close();
    await this.#open;
  }
}
