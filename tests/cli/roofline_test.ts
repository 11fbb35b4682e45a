import assert from "node:assert/strict";
import { load, type LoadOptions } from "../../mod.ts";
import { statsSince } from "../../lab.ts";
import { rooflineOf } from "../../cli/commands/bench/roofline.ts";
import { randomModel } from "../helpers/random_model.ts";

Deno.test("the limit adds up what all places stream and pick", async () => {
  const { bytes } = await randomModel({ downByNeuron: true });
  await using model = await load(bytes, { threads: 0 });
  using sequence = model.engine.createSequence();
  const before = model.engine.stats();
  for (const id of [1, 2, 3, 4]) await model.engine.evaluate(sequence, [id]);
  const stats = statsSince(model.engine.stats(), before);
  // 2 and 3 bytes a ms make 5000 a second; reading takes what 8 ms a token allow.
  const { streamed, picked, ...rest } = rooflineOf({
    stats,
    samplesMs: [16, 16],
    rates: [[{ stream: 2, pick: 1 }, { stream: 3, pick: 1.5 }]],
  });
  assert(streamed > 0 && picked > 0);
  const seconds = streamed / 5000 + picked / 2500;
  assert.equal(rest.streamRate, 5000);
  assert.equal(rest.pickRate, 2500);
  assert(Math.abs(rest.limit * seconds - 1) < 1e-9);
  assert(Math.abs(rest.reached / (seconds / 0.008) - 1) < 1e-9);
});

/** What one layer streamed for each of 40 tokens, and its share of hot neurons. */
async function layerOf(options: LoadOptions) {
  const { bytes } = await randomModel({ feedForwardSize: 128 });
  await using model = await load(bytes, { threads: 2, ...options });
  using sequence = model.engine.createSequence();
  const streamed: number[] = [];
  for (let id = 0; id < 40; id++) {
    const before = model.engine.stats();
    await model.engine.evaluate(sequence, [id]);
    const { layers } = statsSince(model.engine.stats(), before);
    streamed.push(layers[1].streamed);
  }
  const { hot, neurons } = model.engine.stats().layers[1];
  return { streamed, hot: hot / neurons };
}

Deno.test("keys and values count as streamed, position by position", async () => {
  // A position has 2 heads of 16, twice: of 2 bytes each and two more, or in blocks of 34 bytes.
  for (const [cacheType, bytes] of [["f16", 136], ["q8_0", 136]] as const) {
    const sparsity = { mode: "dense" } as const;
    const { streamed, hot } = await layerOf({ sparsity, cacheType });
    const expected = streamed.map((_, i) => streamed[0] + bytes * i);
    assert.deepEqual(streamed, expected);
    assert.equal(hot, 0);
  }
});

Deno.test("hot neurons are counted", async () => {
  const counts = () => new Uint32Array(128).fill(1);
  const layer = { gatePositive: counts(), active: counts() };
  const profile = { tokens: 2, layers: [layer, layer] };
  for (const hotShare of [0, 0.25, 1]) {
    assert.equal((await layerOf({ profile, hotShare })).hot, hotShare);
  }
});
