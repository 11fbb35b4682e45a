import assert from "node:assert/strict";
import { siteFiles } from "../../browser.ts";
import { load, type ModelSource } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { toByteSource } from "../../src/load/model_source.ts";
import { hasShared, sharedUrl } from "../helpers/shared_data.ts";
import { openSite } from "./site.ts";
import { testInBrowsers, visit } from "./visit.ts";

const stories = "models/stories260K.gguf";

/** Pages, and what computes in them. */
const cases = [
  ["isolated", 2, /2 threads/],
  ["isolated", 0, /inline$/],
  ["open", 2, /inline \(SharedArrayBuffer is missing here\)/],
] as const;

async function idsHere(source: ModelSource): Promise<number[]> {
  await using model = await load(source, { threads: 1 });
  const ids: number[] = [];
  const text = { maxTokens: 24, temperature: 0 };
  for await (const { id } of model.generate("Once upon a time", text)) {
    ids.push(id);
  }
  return ids;
}

testInBrowsers("the library", async (t, browser) => {
  await using site = await openSite(["in_page.ts"], {
    "/culm-worker.js": siteFiles["culm-worker.js"],
    "/stories.gguf": sharedUrl(stories),
  });
  const expected = await idsHere(tinyBamboo());
  for (const [page, threads, pattern] of cases) {
    await t.step(`tiny-bamboo, ${page}, ${threads} threads`, async () => {
      await using visited = await visit(browser, `${site.url}/${page}`);
      const made = await visited.do("generate", undefined, { threads });
      assert.match(made.backend, pattern);
      assert.deepEqual(made.ids, expected);
      assert.deepEqual(await visited.do("workerNames"), []);
    });
  }

  await t.step({
    name: "a model beside the page",
    ignore: !hasShared(stories),
    async fn() {
      await using visited = await visit(browser, `${site.url}/isolated`);
      const url = "stories.gguf";
      const { ids } = await visited.do("generate", url, { threads: 2 });
      assert.deepEqual(ids, await idsHere(sharedUrl(stories)));
    },
  });

  await t.step("a policy without blob:", async () => {
    await using visited = await visit(browser, `${site.url}/strict`);
    await visited.do("useWorkerFile");
    const { backend, ids } = await visited.do("generate", undefined, {
      threads: 2,
    });
    assert.match(backend, /2 threads/);
    assert.deepEqual(ids, expected);
    const { hash } = await visited.do("keep", "/culm-worker.js", {});
    assert.equal(hash.length, 64);
    assert.deepEqual(await visited.violations(), []);
  });

  await t.step("a policy without blob:, and nothing said", async () => {
    await using visited = await visit(browser, `${site.url}/strict`);
    const { backend, ids } = await visited.do("generate", undefined, {
      threads: 2,
    });
    assert.match(backend, /inline \(/);
    assert.deepEqual(ids, expected);
  });

  await t.step("a file that is picked", async () => {
    const folder = await Deno.makeTempDir();
    try {
      const file = `${folder}/tiny.gguf`;
      const source = await toByteSource(tinyBamboo());
      await Deno.writeFile(file, await source.read(0, source.size));
      await using visited = await visit(browser, `${site.url}/open`);
      const input = await visited.page.$("input");
      await input!.uploadFile(file);
      const { ids } = await visited.do("generateFromPicked", { threads: 0 });
      assert.deepEqual(ids, expected);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});
