/** The page of a server over the embedded model, at an address of this machine. */
import { type LanguageModel, load } from "../../mod.ts";
import { createServer, type ServerOptions } from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** A server that can be lost, and come back at the same address. */
export interface ServedPage extends AsyncDisposable {
  readonly model: LanguageModel;
  readonly url: string;
  /** Ms that each event of a stream waits for: the embedded model writes faster than anybody looks */
  delay: number;
  /** What the last answer was asked for with. */
  // deno-lint-ignore no-explicit-any -- what the page has sent
  readonly asked: () => any;
  /** Breaks all connections off. */
  readonly lose: () => Promise<void>;
  readonly comeBack: () => void;
}

/** Serves the page. */
export async function servePage(
  options?: ServerOptions,
): Promise<ServedPage> {
  const model = await load(tinyBamboo(), { threads: 0 });
  const server = createServer(model, options);
  let port = 0;
  let broken: AbortController, http: Deno.HttpServer<Deno.NetAddr>;
  let body = "";
  const answer = async (request: Request) => {
    if (request.method === "POST") body = await request.clone().text();
    return await server.fetch(request);
  };
  const comeBack = () => {
    broken = new AbortController();
    const { signal } = broken;
    http = Deno.serve(
      { port, hostname: "127.0.0.1", signal, onListen: () => {} },
      async (request) => slowed(await answer(request), page, signal),
    );
    port = http.addr.port;
  };
  const lose = async () => {
    broken.abort();
    await http.finished;
  };
  comeBack();
  const page: ServedPage = {
    model,
    url: `http://127.0.0.1:${port}/`,
    delay: 0,
    asked: () => JSON.parse(body),
    lose,
    comeBack,
    async [Symbol.asyncDispose]() {
      await lose();
      await server[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
  return page;
}

/** A response whose stream waits before each piece, and breaks off when the server is lost. */
function slowed(
  response: Response,
  page: { readonly delay: number },
  signal: AbortSignal,
): Response {
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream")) return response;
  const waits = new TransformStream<Uint8Array, Uint8Array>({
    async transform(bytes, controller) {
      if (page.delay > 0) {
        await new Promise((resolve) => setTimeout(resolve, page.delay));
      }
      if (signal.aborted) controller.error(signal.reason);
      else controller.enqueue(bytes);
    },
  });
  const body = response.body!.pipeThrough(waits);
  return new Response(body, response);
}
