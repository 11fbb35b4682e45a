/**
 * Answers that take their time. What a client sees of them early are signs of
 * life: blanks, which JSON may begin with, or comments of a stream. They keep the
 * line alive, and are how a server learns that the client has gone.
 */
import { eventHeaders } from "./event_stream.ts";

/** The longest time between two signs, in seconds: for longer nobody works for a client that has gone. */
const longestSilence = 2;

/** What becomes of an answer when it is late. */
export interface LateAnswer {
  /** Seconds after which it is late, where that is less than two */
  readonly pingInterval: number;
  /** Whether a stream of events was asked for, once that is known */
  readonly isStream: () => boolean;
  /** The client has gone: what makes the answer is to stop */
  readonly onGone: () => void;
}

/**
 * A response as soon as `work` gives it. Where that is late, one that has begun,
 * and goes on as the other does: an error is its body then, and breaks off JSON
 * behind it.
 */
export async function lateAnswer(
  work: Promise<Response>,
  { pingInterval, isStream, onGone }: LateAnswer,
): Promise<Response> {
  const patience = 1000 * Math.min(pingInterval, longestSilence);
  const early = await within(work, patience);
  if (early) return early;
  const isEvents = isStream();
  const sign = encoder.encode(isEvents ? ": ping\n\n" : " ");
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let failure: Error | undefined;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (failure) return controller.error(failure);
      if (!reader) {
        const response = await within(work, patience);
        if (!response) return controller.enqueue(sign);
        if (!response.ok) {
          const text = await response.text();
          controller.enqueue(encoder.encode(isEvents ? eventOf(text) : text));
          if (isEvents) controller.close();
          else failure = new Error(JSON.parse(text).error.message);
          return;
        }
        reader = response.body!.getReader();
      }
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel(reason) {
      onGone();
      if (reader) await reader.cancel(reason);
      else await (await work).body?.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: isEvents ? eventHeaders : { "content-type": "application/json" },
  });
}

const encoder = new TextEncoder();

/** An error as an event; Anthropic's say of themselves that they are one. */
function eventOf(text: string): string {
  const isNamed = JSON.parse(text).type === "error";
  return `${isNamed ? "event: error\n" : ""}data: ${text}\n\n`;
}

/** What `work` gives, if that takes no longer than so many ms. */
async function within<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
