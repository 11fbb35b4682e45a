import assert from "node:assert/strict";
import { openSite } from "./site.ts";
import { testInBrowsers } from "./visit.ts";

const folder = new URL("../../examples/browser-page/", import.meta.url);

testInBrowsers("examples/browser-page writes a story", async (_, browser) => {
  await using site = await openSite(
    [new URL("culm.ts", folder).pathname],
    {
      "/": new URL("index.html", folder),
      "/page.js": new URL("page.js", folder),
      "/engine.js": new URL("engine.js", folder),
    },
  );
  const page = await browser.newPage();
  await page.goto(site.url);
  await page.click("button");
  const end = Date.now() + 20_000;
  for (;;) {
    const text = await page.$eval("output", ({ textContent }) => textContent);
    if (/^Once upon a time.{100}/s.test(text!)) return;
    assert.ok(Date.now() < end, `it wrote ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
