/**
 * JSON that takes its time. What a client sees of it early are blanks, which
 * JSON may begin with: they keep the line alive, and are how a server learns that
 * the client has gone.
 */

/** The longest time between two blanks, in seconds: for longer nobody works for a client that has gone. */
const longestSilence = 2;

/** What becomes of the JSON when it is late. */
export interface LateJson {
  /** Seconds after which JSON is late, where that is less than two */
  readonly pingInterval: number;
  /** The client has gone: what makes it is to stop */
  readonly onGone: () => void;
  /** What is said of an error, where it is too late for a status */
  readonly bodyOf: (error: unknown) => unknown;
}

/**
 * A response with what `work` gives. Where that fails early, so does this; later
 * the error is the body, and the response is broken off behind it.
 */
export async function lateJson(
  work: Promise<unknown>,
  { pingInterval, onGone, bodyOf }: LateJson,
): Promise<Response> {
  const patience = 1000 * Math.min(pingInterval, longestSilence);
  const early = await within(work, patience);
  if (early) return Response.json(early.value);
  let failure: { readonly error: unknown } | undefined;
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (failure) return controller.error(failure.error);
      try {
        const done = await within(work, patience);
        const text = done ? JSON.stringify(done.value) : " ";
        controller.enqueue(encoder.encode(text));
        if (done) controller.close();
      } catch (error) {
        failure = { error };
        controller.enqueue(encoder.encode(JSON.stringify(bodyOf(error))));
      }
    },
    cancel: onGone,
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: { "content-type": "application/json" },
  });
}

/** What `work` gives, if that takes no longer than so many ms. */
async function within<T>(
  work: Promise<T>,
  ms: number,
): Promise<{ readonly value: T } | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([
      work.then((value) => ({ value })),
      late.promise,
    ]);
  } finally {
    clearTimeout(timer);
  }
}
