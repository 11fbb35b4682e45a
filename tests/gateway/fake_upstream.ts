/** A server that answers as a test wants, on a socket. */

/** What it does for a request that a gateway passes on. */
export type Answer = (
  request: Request,
  body: string,
) => Response | Promise<Response>;

/** How it is set up. */
export interface FakeOptions {
  readonly models?: readonly string[];
  readonly answer?: Answer;
  /** The key without which it does not list its models */
  readonly key?: string;
  /** What it says under `/metrics` */
  readonly metrics?: string;
  readonly port?: number;
}

/** A server of OpenAI's form without a model. */
export class FakeUpstream implements AsyncDisposable {
  /** The bodies that it was sent */
  readonly bodies: string[] = [];
  readonly headers: Headers[] = [];
  /** What `/health` is answered by */
  health = 200;
  readonly #http: Deno.HttpServer<Deno.NetAddr>;
  readonly #closing = new AbortController();

  constructor(
    { models = ["tiny"], answer, key, metrics, port = 0 }: FakeOptions = {},
  ) {
    const { signal } = this.#closing;
    const onListen = () => {};
    const onError = () => new Response(null, { status: 500 });
    this.#http = Deno.serve(
      { hostname: "127.0.0.1", port, signal, onListen, onError },
      async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/health") {
          return new Response(null, { status: this.health });
        }
        if (pathname === "/v1/models") {
          const shown = request.headers.get("authorization");
          if (key && shown !== `Bearer ${key}`) {
            return new Response(null, { status: 401 });
          }
          const data = models.map((id) => ({ id, object: "model" }));
          return Response.json({ object: "list", data });
        }
        if (pathname === "/metrics") {
          return new Response(metrics, { status: metrics ? 200 : 501 });
        }
        const body = await request.text();
        this.bodies.push(body);
        this.headers.push(new Headers(request.headers));
        return await answer?.(request, body) ??
          Response.json({ by: this.port });
      },
    );
  }

  get port(): number {
    return this.#http.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Ends at once: connections break off. */
  async kill(): Promise<void> {
    this.#closing.abort();
    await this.#http.finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** A stream of server-sent events, which ends when `events` do. */
export function eventsOf(events: AsyncIterable<string>): Response {
  const encoder = new TextEncoder();
  const iterator = events[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(`data: ${value}\n\n`));
    },
    async cancel() {
      await iterator.return?.();
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: { "content-type": "text/event-stream" },
  });
}
