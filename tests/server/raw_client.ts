/** A client that says to a server what no well-behaved one would. */

const encoder = new TextEncoder();

/** A connection, and what has come by it. */
export class RawClient implements Disposable {
  /** All that has come */
  said = "";
  readonly #decoder = new TextDecoder();
  readonly #buffer = new Uint8Array(65536);

  constructor(readonly connection: Deno.TcpConn) {}

  /** Sends a text, as far as the server takes it. */
  async send(text: string): Promise<this> {
    let rest = encoder.encode(text);
    try {
      while (rest.length > 0) {
        rest = rest.subarray(await this.connection.write(rest));
      }
    } catch {
      // The server has closed it.
    }
    return this;
  }

  /** Reads until it comes, or the connection ends. */
  async until(what: RegExp): Promise<string> {
    while (!what.test(this.said) && await this.#read());
    return this.said;
  }

  /** Reads until the server closes the connection. */
  async rest(): Promise<string> {
    while (await this.#read());
    return this.said;
  }

  async #read(): Promise<boolean> {
    const count = await this.connection.read(this.#buffer).catch(() => null);
    if (count === null) return false;
    const bytes = this.#buffer.subarray(0, count);
    this.said += this.#decoder.decode(bytes, { stream: true });
    return true;
  }

  /** Goes away, in the midst of whatever it is. */
  [Symbol.dispose](): void {
    this.connection.close();
  }
}

/** Connects to a server on this machine. */
export async function connect(port: number): Promise<RawClient> {
  return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
}

/** A request as it is sent. */
export function requestText(
  path: string,
  body: object,
  { version = "1.1", length = 0 } = {},
): string {
  const text = JSON.stringify(body);
  return [
    `POST ${path} HTTP/${version}`,
    "Host: 127.0.0.1",
    `Content-Length: ${text.length + length}`,
    "",
    text,
  ].join("\r\n");
}
