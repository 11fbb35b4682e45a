/** Server-sent events: an answer, while it is written. */

import { RequestError } from "./errors.ts";
import type { JsonObject } from "../formats/json.ts";

/** One event of a stream. */
export interface StreamEvent {
  /** Its name, for dialects that name them */
  readonly event?: string;
  /** What it says: JSON, or a text as it is */
  readonly data: unknown;
}

/** How a stream is kept. */
export interface StreamOptions {
  /** Seconds of silence after which a comment is sent, so that nobody takes the line for dead */
  readonly pingInterval: number;
  /** What is sent in place of a comment */
  readonly ping?: StreamEvent;
  /** The client has gone: what makes the events is to stop */
  readonly onGone: () => void;
  /** Aborted when it is to stop for another reason */
  readonly signal: AbortSignal;
  /** Events that wait for a slow reader before what makes them waits too; many, if left out */
  readonly mostWaiting?: number;
  /** Seconds that so many may wait before a client counts as gone; 30, if left out */
  readonly patience?: number;
}

/** Many events: a text holds its place no longer than it must. */
const manyEvents = 4096;

/** The headers of a stream of events. */
export const eventHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  // Proxies such as nginx are not to wait for more.
  "x-accel-buffering": "no",
} as const;

const encoder = new TextEncoder();

/** A response that sends events as they come. */
export function eventStream(
  events: AsyncGenerator<StreamEvent, void, void>,
  options: StreamOptions,
): Response {
  const { pingInterval, ping, onGone, signal, patience = 30 } = options;
  const sign = ping ? textOf(ping) : ": ping\n\n";
  let next: Promise<IteratorResult<StreamEvent, void>> | undefined;
  let unread: Disposable | undefined;
  const end = async () => {
    unread?.[Symbol.dispose]();
    onGone();
    await events.return();
  };
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      unread?.[Symbol.dispose]();
      next ??= events.next();
      const silence = Promise.withResolvers<undefined>();
      const timer = setTimeout(
        () => silence.resolve(undefined),
        1000 * pingInterval,
      );
      try {
        const result = await Promise.race([next, silence.promise]);
        if (result) next = undefined;
        if (result?.done) return controller.close();
        const text = result ? textOf(result.value) : sign;
        controller.enqueue(encoder.encode(text));
      } finally {
        clearTimeout(timer);
      }
      if (controller.desiredSize! > 0) return;
      unread = later(1000 * patience, signal, () => {
        controller.error(new RequestError(408, "Nobody reads the answer"));
        // Who would be told of its failure has gone.
        end().catch(() => {});
      });
    },
    cancel: end,
  }, { highWaterMark: options.mostWaiting ?? manyEvents });
  return new Response(body, { headers: eventHeaders });
}

/** Acts after so many ms, or when the signal is aborted, unless it is disposed of before. */
function later(ms: number, signal: AbortSignal, act: () => void): Disposable {
  const timer = setTimeout(act, ms);
  signal.addEventListener("abort", act);
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal.removeEventListener("abort", act);
    },
  };
}

/** Events named by their types, and what `failed` makes of an error behind them. */
export async function* typedEvents(
  events: AsyncIterable<JsonObject>,
  failed: (error: unknown) => JsonObject,
): AsyncGenerator<StreamEvent, void, void> {
  const named = (data: JsonObject) => ({ event: String(data.type), data });
  try {
    for await (const data of events) yield named(data);
  } catch (error) {
    yield named(failed(error));
  }
}

function textOf({ event, data }: StreamEvent): string {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return `${event === undefined ? "" : `event: ${event}\n`}data: ${text}\n\n`;
}
