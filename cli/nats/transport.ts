/** How servers of NATS are dialled. */
import { isIP, type Socket } from "node:net";
import { NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

/**
 * The client's transport. It dials a server by its name, which is what it is
 * permitted by, and survives resets.
 */
export class NatsTransport extends NodeTransport {
  #host = "";

  /** The name is that of the certificate as well, where no other is known. */
  override connect(...[server, options]: Parameters<NodeTransport["connect"]>) {
    this.#host = server.hostname;
    const name = isIP(server.hostname) ? "" : server.hostname;
    return super.connect(
      { ...server, tlsName: server.tlsName || name },
      options,
    );
  }

  override async dial(...args: Parameters<NodeTransport["dial"]>) {
    return guarded(await super.dial(...args));
  }

  override async startTLS() {
    // Certificates are checked for the host where there is no name: else for `localhost`.
    const tls = { ...this.options.tls, host: this.#host };
    this.options = { ...this.options, tls };
    return guarded(await super.startTLS());
  }
}

/**
 * The client takes all listeners off a socket before it puts others on it, or
 * gives it up: a reset that arrives then would end the process. From now on
 * there always is one that hears of it; others do as well.
 */
function guarded<T extends Socket>(socket: T): T {
  const { removeAllListeners } = socket;
  const ignore = () => {};
  socket.removeAllListeners = function (...events) {
    removeAllListeners.apply(this, events);
    return this.on("error", ignore);
  };
  return socket.on("error", ignore);
}
