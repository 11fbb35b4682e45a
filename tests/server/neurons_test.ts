import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { createServer } from "../../server.ts";
import { eventsOf } from "../../web/event_stream.js";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { tinyServer } from "./tiny_server.ts";

const story = { prompt: "Tom had a", max_tokens: 20, temperature: 0 };

interface Told {
  readonly event: string;
  // deno-lint-ignore no-explicit-any -- what others sent
  readonly data: any;
}

/** Events of a response, until so many tokens have been told of. */
async function toldOf(response: Response, tokens: number): Promise<Told[]> {
  const told: Told[] = [];
  for await (const { event, data } of eventsOf(response)) {
    const given = { event, data: JSON.parse(data) };
    told.push(given);
    if (event === "fired") tokens -= given.data.tokens;
    if (tokens <= 0) break;
  }
  return told;
}

Deno.test("who watches is told which neurons of which layer fire, as a profile counts them", async () => {
  await using tiny = await tinyServer();
  await using counting = await load(tinyBamboo(), {
    threads: 0,
    countNeurons: true,
  });
  const { feedForwardSize: size, layers } = tiny.model.model;
  const watching = await tiny.get("/v1/neurons?buckets=1024");
  assert.equal(
    watching.headers.get("content-type"),
    "text/event-stream; charset=utf-8",
  );
  const answer = await (await tiny.post("/v1/completions", story)).json();
  const { tokens } = tiny.model.engine.stats();
  const [first, ...fired] = await toldOf(watching, tokens);
  assert.equal(first.event, "layers");
  assert.deepEqual(first.data, {
    counted: "active",
    buckets: size,
    layers: layers.map(() => ({ neurons: size, gpu: 0, hot: 0 })),
  });
  let text = "";
  for await (
    const piece of counting.generate(story.prompt, {
      maxTokens: 20,
      temperature: 0,
    })
  ) text += piece.text;
  assert.equal(text, answer.choices[0].text);
  const profile = counting.engine.profile();
  const expected = layers.map((_, layer) => ({
    share: profile.layers[layer].active.reduce((a, b) => a + b) /
      (size * profile.tokens),
    fires: Array.from(profile.layers[layer].active, (count) => count > 0),
  }));
  const sum = fired.reduce((sum, { data }) => sum + data.tokens, 0);
  assert.equal(sum, profile.tokens);
  const bytes = fired.map(({ data }) => Uint8Array.fromBase64(data.buckets));
  const found = layers.map((_, layer) => ({
    share: fired.reduce(
      (total, { data }) => total + data.tokens * data.layers[layer].cold,
      0,
    ) / sum,
    fires: Array.from(
      { length: size },
      (_, i) => bytes.some((each) => each[layer * size + i] > 0),
    ),
  }));
  found.forEach(({ share, fires }, layer) => {
    assert.ok(Math.abs(share - expected[layer].share) < 1e-4);
    assert.deepEqual(fires, expected[layer].fires);
  });
});

Deno.test("hot neurons come first, and neurons are told in as many groups as are asked for", async () => {
  await using counting = await load(tinyBamboo(), {
    threads: 0,
    countNeurons: true,
  });
  await counting.engine.startSequence(counting.tokenize("Tom had a red ball."));
  const profile = counting.engine.profile();
  await using model = await load(tinyBamboo(), {
    threads: 2,
    profile,
    hotShare: 0.25,
  });
  await using server = createServer(model);
  const ask = (path: string, body?: unknown) =>
    server.fetch(
      new Request(`http://localhost${path}`, {
        method: body ? "POST" : "GET",
        body: body ? JSON.stringify(body) : undefined,
      }),
    );
  const watching = await ask("/v1/neurons?buckets=16");
  await (await ask("/v1/completions", story)).json();
  const told = await toldOf(watching, model.engine.stats().tokens);
  const [{ data: { buckets, layers } }, ...fired] = told;
  const size = model.model.feedForwardSize;
  assert.equal(buckets, 16);
  for (const { neurons, hot } of layers) {
    assert.deepEqual([neurons, hot], [size, size / 4]);
  }
  for (const { data } of fired) {
    const bytes = Uint8Array.fromBase64(data.buckets);
    assert.equal(bytes.length, 16 * layers.length);
    const firstQuarter = (layer: number) => {
      const row = bytes.subarray(16 * layer, 16 * layer + 4);
      return row.reduce((sum, byte) => sum + byte / 255 / 4, 0);
    };
    data.layers.forEach(
      ({ hot, cold }: { hot: number; cold: number }, layer: number) => {
        assert.ok(hot > cold, `${hot} of the hot, ${cold} of the cold`);
        assert.ok(Math.abs(firstQuarter(layer) - hot) < 1 / 255);
      },
    );
  }
});

Deno.test("neurons are counted only as long as somebody watches", async () => {
  await using tiny = await tinyServer();
  const { engine } = tiny.model;
  const run = async () =>
    await (await tiny.post("/v1/completions", story)).json();
  await run();
  {
    using first = await engine.watchNeurons();
    using second = await engine.watchNeurons();
    assert.equal(await first.next(), undefined);
    await run();
    const fired = await first.next();
    assert.ok(fired!.tokens >= 20);
    const before = engine.stats().tokens;
    await run();
    assert.equal((await first.next())!.tokens, engine.stats().tokens - before);
    assert.ok((await second.next())!.tokens > fired!.tokens);
  }
  await run();
  using third = await engine.watchNeurons();
  await run();
  const { layers } = (await third.next())!;
  // What ran while nobody watched is not counted, and so neither here.
  const most = layers[0].active.reduce((a, b) => Math.max(a, b));
  assert.ok(most > 0 && most <= 25, `${most} times`);
  assert.throws(() => engine.profile(), /without countNeurons/);
});

Deno.test("a client that goes away watches no more, and too many are refused", async () => {
  await using tiny = await tinyServer();
  const watchers: Response[] = [];
  for (let i = 0; i < 16; i++) watchers.push(await tiny.get("/v1/neurons"));
  const refused = await tiny.get("/v1/neurons");
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get("retry-after"), "1");
  await refused.body!.cancel();
  await watchers.pop()!.body!.cancel();
  watchers.push(await tiny.get("/v1/neurons"));
  assert.equal(watchers.at(-1)!.status, 200);
  for (const watcher of watchers) await watcher.body!.cancel();
});

Deno.test("a server that stops ends those who watch at once, while answers are written to their end", async () => {
  await using tiny = await tinyServer();
  const answer = await tiny.post("/v1/completions", {
    ...story,
    max_tokens: 200,
    ignore_eos: true,
    stream: true,
  });
  const watching = await tiny.get("/v1/neurons");
  let isStopped = false;
  const stopped = tiny.server.stop().then(() => isStopped = true);
  await watching.text();
  assert.equal(isStopped, false);
  assert.match(await answer.text(), /\[DONE\]/);
  await stopped;
  // And who comes later is told nothing.
  assert.equal(await (await tiny.get("/v1/neurons")).text(), "");
});

Deno.test("groups out of range are refused", async () => {
  await using tiny = await tinyServer();
  for (const buckets of ["0", "1025", "1e2", "x", ""]) {
    const response = await tiny.get(`/v1/neurons?buckets=${buckets}`);
    assert.equal(response.status, 400, buckets);
    const { error } = await response.json();
    assert.equal(error.param, "buckets");
  }
});
