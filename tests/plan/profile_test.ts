import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { CulmError, FormatError } from "../../src/errors.ts";
import { load } from "../../src/load/load.ts";
import { hotBorder } from "../../src/plan/hot_rows.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import {
  firingOf,
  mergeProfiles,
  type Profile,
} from "../../src/plan/profile.ts";
import { readProfile, writeProfile } from "../../src/plan/profile_file.ts";
import { randomModel } from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

const profiles = fc.record({
  layers: fc.integer({ min: 1, max: 3 }),
  neurons: fc.integer({ min: 1, max: 40 }),
  tokens: fc.integer({ min: 0, max: 2 ** 24 }),
  seed: fc.nat(),
}).map(({ layers, neurons, tokens, seed }): Profile => {
  const random = seededRandom(seed);
  const counts = () =>
    Uint32Array.from(
      { length: neurons },
      () => Math.floor(random() * (tokens + 1)),
    );
  return {
    tokens,
    layers: Array.from({ length: layers }, () => ({
      gatePositive: counts(),
      active: counts(),
    })),
  };
});

Deno.test("a profile comes back from its file as it was", async () => {
  await fc.assert(fc.asyncProperty(profiles, async (profile) => {
    const progress = { text: "ab".repeat(32), position: profile.tokens };
    const bytes = await writeProfile({ profile, progress });
    const read = await readProfile(fromBuffer(bytes));
    assert.deepEqual(read, { profile, progress });
    const done = await readProfile(fromBuffer(await writeProfile({ profile })));
    assert.equal(done.progress, undefined);
  }));
});

Deno.test("a damaged profile is read or refused with a typed error", async () => {
  const [profile] = fc.sample(profiles, { numRuns: 1, seed: 3 });
  const bytes = await writeProfile({ profile });
  const random = seededRandom(4);
  for (let i = 0; i < 2000; i++) {
    const damaged = bytes.slice(0, Math.ceil(random() * bytes.length));
    if (damaged.length === bytes.length || i % 2) {
      const whole = bytes.slice();
      whole[Math.floor(random() * whole.length)] = Math.floor(random() * 256);
      damaged.set(whole.subarray(0, damaged.length));
    }
    await readProfile(fromBuffer(damaged)).catch((error) =>
      assert(error instanceof CulmError, String(error))
    );
  }
});

Deno.test("unfinished counts that were changed are refused", async () => {
  const layer = {
    gatePositive: Uint32Array.of(5, 6),
    active: Uint32Array.of(1, 2),
  };
  const progress = { text: "ab".repeat(32), position: 9 };
  const bytes = await writeProfile({
    profile: { tokens: 9, layers: [layer] },
    progress,
  });
  const text = new TextDecoder("latin1").decode(bytes);
  const floats = (value: number) =>
    text.lastIndexOf(
      String.fromCharCode(...new Uint8Array(Float32Array.of(value).buffer)),
    );
  const changes: [string, number, number][] = [
    ["a count", floats(6) + 2, 0x80],
    ["tokens", text.indexOf("profile.tokens") + 18, 10],
    ["the position", text.indexOf("profile.position") + 20, 3],
    ["the text", text.indexOf("abab"), 0x62],
    ["the name of a key", text.indexOf("profile.text"), 0x51],
  ];
  await readProfile(fromBuffer(bytes));
  for (const [name, offset, byte] of changes) {
    const changed = bytes.slice();
    assert.notEqual(changed[offset], byte);
    changed[offset] = byte;
    await assert.rejects(
      readProfile(fromBuffer(changed)),
      /it was changed since it was left unfinished/,
      name,
    );
  }
});

Deno.test("merging adds counts up, and refuses profiles of other shapes", () => {
  fc.assert(fc.property(profiles, (profile) => {
    const twice = mergeProfiles([profile, profile]);
    assert.equal(twice.tokens, 2 * profile.tokens);
    twice.layers.forEach(({ active }, layer) =>
      active.forEach((count, j) =>
        assert.equal(count, 2 * profile.layers[layer].active[j])
      )
    );
    const { tokens, layers } = profile;
    const other = { tokens, layers: [...layers, layers[0]] };
    assert.throws(() => mergeProfiles([profile, other]), FormatError);
  }));
});

Deno.test("firingOf lists a range's neurons once, hottest first", () => {
  fc.assert(fc.property(profiles, (profile) => {
    const { active } = profile.layers[0];
    const range = { start: Math.floor(active.length / 3), end: active.length };
    const firing = firingOf(profile, 0, range);
    const expected = Array.from(active.keys()).slice(range.start);
    assert.deepEqual([...firing.order].sort((a, b) => a - b), expected);
    for (let i = 1; i < firing.order.length; i++) {
      assert(active[firing.order[i - 1]] >= active[firing.order[i]]);
    }
  }));
});

Deno.test("the border costs no more than any other", () => {
  const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
    maxLength: 50,
  });
  const ratio = fc.double({ min: 0.05, max: 1, noNaN: true });
  const question = fc.double({ min: 0, max: 0.3, noNaN: true });
  fc.assert(fc.property(shares, ratio, question, (shares, ratio, question) => {
    const cost = (border: number) =>
      shares.slice(border).reduce(
        (sum, s) => sum + s / ratio + question,
        border,
      );
    const chosen = cost(hotBorder(shares, ratio, question));
    for (let border = 0; border <= shares.length; border++) {
      assert(chosen <= cost(border) + 1e-9);
    }
  }));
});

Deno.test("counted neurons are those that the layers count, whatever the threads and the order", async () => {
  const { bytes, model } = await randomModel({ feedForwardSize: 100 });
  const run = async (options: Parameters<typeof load>[1]) => {
    await using loaded = await load(bytes, { countNeurons: true, ...options });
    using sequence = loaded.engine.createSequence();
    await loaded.engine.evaluate(sequence, [1, 2, 3, 4, 5, 6, 7], "none");
    for (let id = 10; id < 20; id++) {
      await loaded.engine.evaluate(sequence, [id]);
    }
    const profile = loaded.engine.profile();
    loaded.engine.stats().layers.forEach((layer, i) => {
      const sum = (counts: Uint32Array) => counts.reduce((a, b) => a + b, 0);
      assert.equal(sum(profile.layers[i].active), layer.active);
      assert.equal(sum(profile.layers[i].gatePositive), layer.gatePositive);
    });
    return profile;
  };
  const first = await run({ threads: 0 });
  assert.equal(first.tokens, 17);
  assert.deepEqual(await run({ threads: 2 }), first);
  assert.deepEqual(await run({ threads: 2, profile: first }), first);
  assert.deepEqual(
    await run({ threads: 0, profile: first, hotShare: 1 }),
    first,
  );
  assert.equal(
    splitEvenly(model, 2, first).places[1].parts[0].firing!.order.length,
    36,
  );
});

Deno.test("a profile of another model is refused, and a profile that was not counted", async () => {
  const { bytes } = await randomModel();
  const layer = {
    gatePositive: new Uint32Array(5),
    active: new Uint32Array(5),
  };
  const profile = { tokens: 1, layers: [layer, layer] };
  await assert.rejects(
    load(bytes, { threads: 0, profile }),
    /it has 2 layers of 5 neurons, the model 2 of 96/,
  );
  await using model = await load(bytes, { threads: 0 });
  assert.throws(() => model.engine.profile(), /without countNeurons/);
});
