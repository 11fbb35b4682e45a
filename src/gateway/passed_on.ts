/** An upstream's answer on its way to a client, as fast as the client reads. */
import { errorBody as anthropicBody } from "../server/anthropic/form.ts";
import { errorBody, RequestError } from "../server/errors.ts";

/** How an answer is passed on. */
export interface PassedOn {
  readonly headers: Headers;
  /** Whether errors are Anthropic's */
  readonly isAnthropic: boolean;
  /** Aborted where the answer is given up, whether the client reads it or not */
  readonly signal: AbortSignal;
  /** It has ended, as the client sees it: with an error, where it broke off */
  readonly onEnd: (error?: RequestError) => void;
}

const encoder = new TextEncoder();

/** The answer, of which nothing is read that the client does not wait for. A stream of events that breaks off ends by an error. */
export function passedOn(
  { body, status, statusText, headers: given }: Response,
  { headers, isAnthropic, signal, onEnd }: PassedOn,
): Response {
  if (!body) {
    onEnd();
    return new Response(null, { status, statusText, headers });
  }
  const isEvents = /^text\/event-stream\b/i.test(
    given.get("content-type") ?? "",
  );
  const reader = body.getReader();
  let hasEnded = false;
  let giveUp = () => {};
  /** Ends it once. */
  const end = (error?: RequestError) => {
    hasEnded = true;
    signal.removeEventListener("abort", giveUp);
    onEnd(error);
  };
  const rest = new ReadableStream<Uint8Array>({
    start(controller) {
      giveUp = () => breakOff(controller, signal.reason);
      signal.addEventListener("abort", giveUp);
    },
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (hasEnded) return;
        if (!done) return controller.enqueue(value);
        controller.close();
        end();
      } catch (cause) {
        breakOff(controller, cause);
      }
    },
    async cancel(reason) {
      end();
      await reader.cancel(reason).catch(() => {});
    },
  }, { highWaterMark: 0 });
  return new Response(rest, { status, statusText, headers });

  function breakOff(
    controller: ReadableStreamDefaultController<Uint8Array>,
    cause: unknown,
  ): void {
    if (hasEnded) return;
    const error = cause instanceof RequestError
      ? cause
      : new RequestError(502, "The upstream broke off", { cause });
    if (isEvents) {
      controller.enqueue(encoder.encode(eventOf(error, isAnthropic)));
      controller.close();
    } else controller.error(error);
    end(error);
  }
}

/** An error as an event, behind whatever part of another there was. */
function eventOf(error: RequestError, isAnthropic: boolean): string {
  return isAnthropic
    ? `\n\nevent: error\ndata: ${JSON.stringify(anthropicBody(error))}\n\n`
    : `\n\ndata: ${JSON.stringify(errorBody(error))}\n\n`;
}
