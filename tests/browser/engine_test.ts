import assert from "node:assert/strict";
import { siteFiles } from "../../browser.ts";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { openSite, type Site } from "./site.ts";
import { testInBrowsers, visit } from "./visit.ts";

async function textHere(): Promise<string> {
  await using model = await load(tinyBamboo(), { threads: 1 });
  const options = { maxTokens: 24, temperature: 0 };
  return await model.complete("Once upon a time", options);
}

function openEngineSite(): Promise<Site> {
  return openSite(["in_page.ts", "in_worker.ts"], {
    "/culm-service-worker.js": siteFiles["culm-service-worker.js"],
  });
}

testInBrowsers("an engine in a worker", async (t, browser) => {
  await using site = await openEngineSite();
  const text = await textHere();
  const threads = { isolated: ["culm CPU worker 0"], open: [] };
  for (const kind of ["isolated", "open"] as const) {
    await t.step(
      `answers OpenAI's client in a page that is ${kind}`,
      async () => {
        await using page = await visit(browser, `${site.url}/${kind}`);
        await page.do("useEngine");
        const answer = await page.do("complete", "engine");
        assert.deepEqual([answer.text, answer.streamed], [text, text]);
        assert.ok(answer.pieces > 5, `${answer.pieces} pieces`);
        const names = ["engine", ...threads[kind]];
        assert.deepEqual(await page.do("workerNames"), names);
        assert.deepEqual(await page.do("giveUp"), {
          error: "AbortError",
          status: 200,
        });
        await page.do("endEngine");
        assert.deepEqual(await page.do("workerNames"), []);
        await assert.rejects(page.do("complete", "engine"), /Connection error/);
      },
    );
  }

  await t.step("frees its memory when the page is hidden", async () => {
    await using page = await visit(browser, `${site.url}/open`);
    await page.do("useEngine", 1);
    await page.do("complete", "engine");
    await page.do("hide", true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await page.do("hide", false);
    assert.equal(await page.do("starts"), 1);
    const again = await page.do("complete", "engine");
    assert.equal(again.text, text);
    assert.equal(await page.do("starts"), 2);
  });

  await t.step(
    "answers an unmodified client at the site's address, without a network",
    async () => {
      const site = await openEngineSite();
      await using page = await visit(browser, `${site.url}/isolated`);
      await page.do("useEngine");
      await page.do("routeToEngine");
      const answer = await page.do("complete", "address");
      assert.deepEqual([answer.text, answer.streamed], [text, text]);
      // Another page of the site asks the one that answers.
      await using other = await visit(browser, `${site.url}/open`);
      await site[Symbol.asyncDispose]();
      for (const each of [page, other]) {
        const { text: offline } = await each.do("complete", "address");
        assert.equal(offline, text);
      }
      // Where none answers, requests go to the network.
      await assert.rejects(page.do("endRoute"), { name: "TypeError" });
    },
  );
});
