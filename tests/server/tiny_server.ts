/** A server over the embedded model, in the test's own thread. */
import { type LanguageModel, load, type LoadOptions } from "../../mod.ts";
import {
  createServer,
  type CulmServer,
  type ServerOptions,
} from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** A server to be called by paths. */
export interface TinyServer extends AsyncDisposable {
  readonly model: LanguageModel;
  readonly server: CulmServer;
  readonly get: (path: string) => Promise<Response>;
  /** Posts JSON, or a text as it is. */
  readonly post: (
    path: string,
    body: unknown,
    init?: RequestInit,
  ) => Promise<Response>;
}

/** Starts a server. */
export async function tinyServer(
  options?: ServerOptions,
  loadOptions?: LoadOptions,
): Promise<TinyServer> {
  const model = await load(tinyBamboo(), { threads: 0, ...loadOptions });
  const server = createServer(model, options);
  const at = (path: string) => `http://localhost${path}`;
  return {
    model,
    server,
    get: (path) => server.fetch(new Request(at(path))),
    post: (path, body, init) =>
      server.fetch(
        new Request(at(path), {
          method: "POST",
          body: typeof body === "string" ? body : JSON.stringify(body),
          ...init,
        }),
      ),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
}

/** What the events of a stream say, as texts. */
export async function eventsOf(response: Response): Promise<string[]> {
  const text = await response.text();
  return text.split("\n\n").filter((event) => event.startsWith("data: "))
    .map((event) => event.slice("data: ".length));
}

/** The chunks of a stream, which ends as it should. */
// deno-lint-ignore no-explicit-any -- what others sent
export async function chunksOf(response: Response): Promise<any[]> {
  const events = await eventsOf(response);
  if (events.pop() !== "[DONE]") throw new Error("the stream has no end");
  return events.map((event) => JSON.parse(event));
}
