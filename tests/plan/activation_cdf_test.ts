import assert from "node:assert/strict";
import fc from "fast-check";
import { readActivationFolder } from "../../cli/activation_folder.ts";
import {
  activationCdf,
  activationShare,
  meanActivationShare,
} from "../../src/plan/profile.ts";
import { fixturePath, fixtureUrl } from "../helpers/fixtures.ts";

function profileOf(...counts: number[][]) {
  const layers = counts.map((layer) => {
    const active = Uint32Array.from(layer);
    return { active, gatePositive: active };
  });
  return { tokens: 1000, layers };
}

Deno.test("the hottest neurons take at least their part, and more of them take more", () => {
  const counts = fc.array(fc.nat(1000), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(
      counts,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (layer, x) => {
        const [cdf] = activationCdf(profileOf(layer));
        const sum = layer.reduce((a, b) => a + b, 0);
        assert.equal(cdf.length, layer.length + 1);
        if (sum === 0) return assert.equal(activationShare(cdf, x), 0);
        assert.equal(activationShare(cdf, 0), 0);
        assert.equal(activationShare(cdf, 1), 1);
        assert.ok(activationShare(cdf, x) >= x - 1e-12);
        const hottest = layer.toSorted((a, b) => b - a);
        hottest.forEach((count, k) => {
          assert.ok(Math.abs(cdf[k + 1] - cdf[k] - count / sum) < 1e-12);
        });
      },
    ),
  );
});

Deno.test("a share between two neurons lies between theirs, and means are over layers", () => {
  const cdfs = activationCdf(profileOf([1, 3, 0, 0], [2, 2, 2, 2]));
  assert.equal(activationShare(cdfs[0], 0.25), 0.75);
  assert.equal(activationShare(cdfs[0], 0.375), 0.875);
  assert.equal(meanActivationShare(cdfs, 0.25), 0.5);
});

Deno.test(
  "tiny-bamboo's hottest tenth takes what stats.json says",
  async () => {
    const folder = fixturePath("tiny-bamboo/activation");
    const cdfs = activationCdf(await readActivationFolder(folder, "drelu"));
    const { layers }: { layers: { hottest_10pct_share: number }[] } = JSON
      .parse(await Deno.readTextFile(fixtureUrl("tiny-bamboo/stats.json")));
    assert.equal(cdfs.length, layers.length);
    layers.forEach(({ hottest_10pct_share }, i) => {
      // Their tenth are 102 neurons of 1024.
      const share = activationShare(cdfs[i], 102 / 1024);
      assert.ok(
        Math.abs(share - hottest_10pct_share) < 5e-4,
        `layer ${i}: ${share}, not ${hottest_10pct_share}`,
      );
    });
  },
);
