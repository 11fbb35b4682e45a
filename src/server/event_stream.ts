/** Server-sent events: an answer, while it is written. */

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
  /** Events that wait for a slow reader before what makes them waits too; many, if left out */
  readonly mostWaiting?: number;
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
  { pingInterval, ping, onGone, mostWaiting = manyEvents }: StreamOptions,
): Response {
  const sign = ping ? textOf(ping) : ": ping\n\n";
  let next: Promise<IteratorResult<StreamEvent, void>> | undefined;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      next ??= events.next();
      const silence = Promise.withResolvers<undefined>();
      const timer = setTimeout(
        () => silence.resolve(undefined),
        1000 * pingInterval,
      );
      try {
        const result = await Promise.race([next, silence.promise]);
        if (result) next = undefined;
        if (result?.done) controller.close();
        else {
          const text = result ? textOf(result.value) : sign;
          controller.enqueue(encoder.encode(text));
        }
      } finally {
        clearTimeout(timer);
      }
    },
    async cancel() {
      onGone();
      await events.return();
    },
  }, { highWaterMark: mostWaiting });
  return new Response(body, { headers: eventHeaders });
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
