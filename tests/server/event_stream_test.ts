import assert from "node:assert/strict";
import {
  eventStream,
  type StreamEvent,
} from "../../src/server/event_stream.ts";

/** A stream of events without end, which holds eight of them for its reader. */
function endless(patience: number) {
  const stopped = new AbortController();
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const seen = { made: 0, isGone: false };
  async function* events(): AsyncGenerator<StreamEvent, void, void> {
    try {
      for (;;) yield { data: seen.made++ };
    } finally {
      resolve();
    }
  }
  const response = eventStream(events(), {
    pingInterval: 60,
    mostWaiting: 8,
    patience,
    signal: stopped.signal,
    onGone: () => seen.isGone = true,
  });
  return { seen, stopped, ended, reader: response.body!.getReader() };
}

Deno.test("what nobody reads is not written, and given up in the end", async () => {
  const { seen, ended, reader } = endless(0.01);
  await ended;
  assert.deepEqual(seen, { made: 8, isGone: true });
  await assert.rejects(reader.read(), /Nobody reads the answer/);
});

Deno.test("who reads late, but reads, misses nothing", async () => {
  const { seen, reader } = endless(0.2);
  for (let i = 0; i < 100; i++) {
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), `data: ${i}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(seen.isGone, false);
  await reader.cancel();
  assert.equal(seen.isGone, true);
});

Deno.test("what nobody reads does not keep a server from stopping", async () => {
  const { seen, stopped, ended } = endless(60);
  while (seen.made < 8) await new Promise((resolve) => setTimeout(resolve, 0));
  stopped.abort();
  await ended;
  assert.equal(seen.isGone, true);
});
