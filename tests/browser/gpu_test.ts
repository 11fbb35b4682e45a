/** WebGPU in a page: Chromium's in software, where results are awaited. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { fixtureUrl } from "../helpers/fixtures.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { browserPath, openBrowser } from "../web/browsers.ts";
import { openSite } from "./site.ts";
import { visit } from "./visit.ts";

/** For a GPU in software is slow. */
const small = fixtureUrl("small-bamboo/f16.gguf");

testNeeding(needs.chrome, browserPath("chrome") !== undefined, {
  name: "a model with half of it on the GPU, and all, in chrome",
  async fn() {
    await using site = await openSite(["in_page.ts"], { "/small.gguf": small });
    const browser = await openBrowser("chrome", "software");
    try {
      await using page = await visit(browser, `${site.url}/isolated`);
      const url = `${site.url}/small.gguf`;
      const half = await page.do("generateWithGpu", url, 0.5, 1);
      assert.match(half.backend, /1 thread \+ WebGPU/);
      const whole = await page.do("generateWithGpu", url, 1, 1);
      assert.equal(whole.backend, "WebGPU");
      await using model = await load(small, { threads: 1 });
      const options = { maxTokens: half.ids.length, temperature: 0 };
      const pieces = await Array.fromAsync(
        model.generate("Once upon a time", options),
      );
      const expected = pieces.map(({ id }) => id);
      assert.deepEqual([half.ids, whole.ids], [expected, expected]);
    } finally {
      await browser.close();
    }
  },
  // The driver leaves timers and a process that ends by itself.
  sanitizeOps: false,
  sanitizeResources: false,
});
