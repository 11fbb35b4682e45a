/** Requests and their answers over message ports: between a page, a worker and a service worker. */
import { chunksOf } from "../bytes/stream.ts";
import { PlaceError } from "../errors.ts";
import {
  type ErrorData,
  errorData,
  errorFrom,
} from "../platform/rpc_server.ts";

/** A request, as it is posted with the port that the answer comes to. */
export interface PostedRequest {
  readonly culmRequest: {
    /** Path and query */
    readonly path: string;
    readonly method: string;
    readonly headers: readonly (readonly [string, string])[];
    readonly body?: ArrayBuffer;
  };
}

/** The answer: its head, the body's chunks, and its end; or an error, in place of any of them. */
type PostedAnswer =
  | {
    readonly status: number;
    readonly headers: readonly (readonly [string, string])[];
  }
  | { readonly chunk: Uint8Array<ArrayBuffer> }
  | { readonly end: true }
  | { readonly error: ErrorData };

/** What answers requests, as a server of `createServer` does. */
export interface Answering {
  /** Answers a request; called without an object. */
  readonly fetch: (request: Request) => Promise<Response>;
}

/** Statuses of answers that have no body. */
const bodiless = [204, 205, 304];

/** A way to the one who answers. */
export interface Way {
  post(message: PostedRequest, transfer: Transferable[]): void;
  /** Gives the answer up, with its reason. */
  readonly signal?: AbortSignal;
  /** Told when the answer has ended, however it has. */
  readonly onEnd?: () => void;
}

/** Posts a request, and waits for the head of the answer. */
export async function ask(
  request: Request,
  path: string,
  { post, signal, onEnd }: Way,
): Promise<Response> {
  const signals = [request.signal, ...signal ? [signal] : []];
  const given = AbortSignal.any(signals);
  const body = await request.arrayBuffer().catch((error) => {
    onEnd?.();
    throw error;
  });
  const { port1: port, port2 } = new MessageChannel();
  const head = Promise.withResolvers<Response>();
  const end = () => {
    given.removeEventListener("abort", giveUp);
    port.onmessage = null; // Firefox hands on what was under way when it is closed.
    port.close();
    onEnd?.();
  };
  const cancel = () => {
    port.postMessage("cancel");
    end();
  };
  let chunks!: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => void (chunks = controller),
    cancel,
  });
  const fail = (error: unknown) => {
    head.reject(error);
    chunks.error(error);
  };
  const giveUp = () => {
    cancel();
    fail(given.reason);
  };
  given.addEventListener("abort", giveUp);
  port.onmessage = ({ data }: MessageEvent<PostedAnswer>) => {
    if ("status" in data) {
      const { status } = data;
      const headers = data.headers as [string, string][];
      const isEmpty = bodiless.includes(status);
      head.resolve(new Response(isEmpty ? null : stream, { status, headers }));
    } else if ("chunk" in data) chunks.enqueue(data.chunk);
    else {
      end();
      if ("end" in data) chunks.close();
      else fail(errorFrom(data.error, (message) => new PlaceError(message)));
    }
  };
  const { method, headers } = request;
  const posted = {
    path,
    method,
    headers: [...headers],
    body: body.byteLength > 0 ? body : undefined,
  };
  if (given.aborted) giveUp();
  else post({ culmRequest: posted }, [port2]);
  return await head.promise;
}

/** Answers what was posted, if that is a request. */
export async function answer(
  { data, ports: [port] }: MessageEvent<PostedRequest | undefined>,
  answering: Answering | PromiseLike<Answering>,
): Promise<void> {
  const posted = data?.culmRequest;
  if (!posted) return;
  const post = (answer: PostedAnswer, transfer: Transferable[] = []) =>
    port.postMessage(answer, transfer);
  const stop = new AbortController();
  const abort = () => stop.abort();
  port.onmessage = abort;
  port.addEventListener("close", abort); // The page is gone, where browsers tell.
  const { path, method, headers, body } = posted;
  try {
    const { fetch } = await answering;
    // Whoever asks is on the same site: the host says nothing.
    const request = new Request(`http://localhost${path}`, {
      method,
      headers: headers as [string, string][],
      body,
      signal: stop.signal,
    });
    const response = await fetch(request);
    post({ status: response.status, headers: [...response.headers] });
    for await (const chunk of response.body ? chunksOf(response.body) : []) {
      post({ chunk }, [chunk.buffer]);
    }
    post({ end: true });
  } catch (error) {
    post({ error: errorData(error) });
  }
}
