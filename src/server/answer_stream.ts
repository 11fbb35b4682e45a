/** Answers as streams of data, of OpenAI's and llama.cpp's clients. */
import type { Answer } from "./answer.ts";
import { errorBody } from "./errors.ts";
import { eventStream, type StreamEvent } from "./event_stream.ts";
import { failureOf, type ServerContext } from "./server_context.ts";

/** An answer as a stream of data, with `last` behind it, or an error where it fails. */
export function dataStream(
  context: ServerContext,
  answer: Answer,
  chunks: AsyncGenerator<unknown, void, void>,
  last?: string,
): Response {
  const { pingInterval } = context.options;
  const { stop: onGone, signal } = answer;
  return eventStream(events(), { pingInterval, onGone, signal });

  async function* events(): AsyncGenerator<StreamEvent, void, void> {
    try {
      for await (const data of chunks) yield { data };
      if (last !== undefined) yield { data: last };
    } catch (error) {
      yield { data: errorBody(failureOf(error, context)) };
    }
  }
}
