import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { FormatError, UsageError } from "../../src/errors.ts";
import { readPowerInferProfile } from "../../src/plan/powerinfer_profile.ts";
import { writeProfile } from "../../src/plan/profile_file.ts";
import { fixtureUrl } from "../helpers/fixtures.ts";
import { vectorPickle, zipOfAll } from "../helpers/torch_zip.ts";

const goldens: { files: Record<string, { bytes: string }> } = JSON.parse(
  await Deno.readTextFile(
    new URL("../formats/goldens/torch_files.json", import.meta.url),
  ),
);

function file(golden: string, name: string): ByteSource {
  const { bytes } = goldens.files[golden];
  return fromBuffer(
    Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0)),
    name,
  );
}

const highest = 2 ** 33;

Deno.test("counts of a zip and of an old file become one profile, in the order of their names", async () => {
  const sources = [
    file("counts, legacy", "folder/activation_1.pt"),
    file("counts", "folder/activation_0.pt"),
  ];
  const profile = await readPowerInferProfile(sources, {
    activation: "reglu",
  });
  assert.equal(profile.layers.length, 2);
  assert.equal(profile.tokens, 2 ** 24);
  for (const { active, gatePositive } of profile.layers) {
    assert.deepEqual([...active], [0, 0, 0, 2 ** 24, 0]);
    assert.deepEqual(gatePositive, active);
  }
  await writeProfile({ profile });
});

Deno.test("the tokens that are given are kept, and fewer than a count are refused", async () => {
  const read = (tokens: number) =>
    readPowerInferProfile([file("counts", "activation_0.pt")], {
      activation: "drelu",
      tokens,
    });
  const { tokens, layers: [{ active, gatePositive }] } = await read(
    4 * highest,
  );
  assert.equal(tokens, 2 ** 24);
  assert.equal(active[3], 2 ** 22);
  assert.equal(gatePositive[3], 2 ** 23);
  await assert.rejects(read(highest - 1), /fired for 8589934592/);
});

Deno.test("layers that are missing, twice or unnamed are refused, and files without counts", async () => {
  const read = (...names: string[]) =>
    readPowerInferProfile(names.map((name) => file("counts", name)), {
      activation: "drelu",
    });
  await assert.rejects(read("activation_0.pt", "activation_2.pt"), UsageError);
  await assert.rejects(read("activation_0.pt", "x/activation_0.pt"), /same/);
  await assert.rejects(read("model_0.pt"), /activation_0\.pt does/);
  for (const golden of ["dtypes", "views"]) {
    await assert.rejects(
      readPowerInferProfile([file(golden, "activation_0.pt")], {
        activation: "drelu",
      }),
      FormatError,
    );
  }
});

Deno.test(
  "tiny-bamboo's counts, over the tokens they were made of, are its statistics",
  async () => {
    const stats: {
      tokens_profiled: number;
      layers: { fire: number; hottest_10pct_share: number }[];
    } = JSON.parse(
      await Deno.readTextFile(fixtureUrl("tiny-bamboo/stats.json")),
    );
    const sources = await Promise.all(
      stats.layers.map((_, i) =>
        openFile(fixtureUrl(`tiny-bamboo/activation/activation_${i}.pt`))
      ),
    );
    const profile = await readPowerInferProfile(sources, {
      activation: "drelu",
      tokens: stats.tokens_profiled,
    });
    await Promise.all(sources.map((source) => source.close()));
    assert.equal(profile.tokens, stats.tokens_profiled);
    stats.layers.forEach(({ fire, hottest_10pct_share }, i) => {
      const { active } = profile.layers[i];
      const hottest = active.toSorted((a, b) => b - a);
      const sum = (counts: Uint32Array) => counts.reduce((a, b) => a + b, 0);
      const share = sum(active) / active.length / profile.tokens;
      // The statistics are of another part of the text than the counts.
      assert(Math.abs(share - fire) < 0.01, `${share} of ${fire}`);
      const tenth = sum(hottest.slice(0, 102)) / sum(active);
      assert(Math.abs(tenth - hottest_10pct_share) < 0.01, `${tenth}`);
    });
  },
);

Deno.test("a vector of more neurons than a layer has is not read", async () => {
  const length = (1 << 20) + 1;
  const pickle = vectorPickle("Byte", length);
  const file = zipOfAll([
    ["data.pkl", pickle, pickle.length],
    ["data/0", new Uint8Array(length), length],
  ]);
  await assert.rejects(
    readPowerInferProfile([fromBuffer(file, "activation_0.pt")], {
      activation: "drelu",
    }),
    /activation_0\.pt: it counts 1048577 neurons, the most is 1048576/,
  );
});
