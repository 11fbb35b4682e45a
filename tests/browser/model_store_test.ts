import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { toByteSource } from "../../src/load/model_source.ts";
import {
  type Content,
  content,
  generated,
  partial,
  TestHub,
} from "../helpers/hub_server.ts";
import { openSite } from "./site.ts";
import { testInBrowsers, visit } from "./visit.ts";

const tiny = await toByteSource(tinyBamboo());
/** Ten ranges: more than are under way at once. */
const large = generated(10 << 20);
const files = {
  "m-Q4_0.gguf": content(await tiny.read(0, tiny.size)),
  "m-Q8_0.gguf": large,
};
const small = "hf:owner/model-GGUF:Q4_0", name = "hf:owner/model-GGUF:Q8_0";

async function idsHere(): Promise<number[]> {
  await using model = await load(tinyBamboo(), { threads: 1 });
  const text = { maxTokens: 24, temperature: 0 };
  const pieces = await Array.fromAsync(
    model.generate("Once upon a time", text),
  );
  return pieces.map(({ id }) => id);
}

testInBrowsers("the store of models", async (t, browser, browserName) => {
  await using site = await openSite(["in_page.ts"], {});
  await using page = await visit(browser, `${site.url}/isolated`);
  const step = (what: string, act: (hub: TestHub) => Promise<void>) =>
    t.step(what, async () => {
      await using hub = new TestHub(files);
      await act(hub);
      for (const { name } of await page.do("kept")) {
        await page.do("forget", name);
      }
      assert.deepEqual(await page.do("storedFiles"), []);
    });
  const storage = ({ asked }: TestHub) =>
    asked.filter(({ what }) => what === "storage").length;

  await step("loads while it fetches, and keeps", async (hub) => {
    const { endpoint } = hub;
    const ids = await idsHere();
    const loaded = await page.do("generateFromStore", small, { endpoint });
    assert.deepEqual(loaded.ids, ids);
    const requests = storage(hub);
    assert.deepEqual(
      await page.do("kept"),
      [{ name: small, size: tiny.size, loaded: tiny.size, isWhole: true }],
    );
    // Kept, it needs no hub.
    hub.fault = () => new Response(null, { status: 503 });
    const again = await page.do("generateFromStore", small, { endpoint });
    assert.deepEqual(again.ids, ids);
    assert.equal(storage(hub), requests);
  });

  await step("replaces a model that the hub has replaced", async () => {
    const before = content(large.read(0, 5000));
    const after = content(large.read(7, 6000));
    const ofHub = async (file: Content, commit: string) => {
      await using hub = new TestHub({ "m-Q8_0.gguf": file });
      hub.commit = commit;
      const { endpoint } = hub;
      const { hash } = await page.do("keep", name, { endpoint });
      assert.equal(hash, file.hash);
    };
    await ofHub(before, "1".repeat(40));
    await ofHub(after, "2".repeat(40));
    const [{ size }] = await page.do("kept");
    assert.equal(size, after.size);
    assert.equal((await page.do("storedFiles")).length, 3);
  });

  await step("bears lost connections", async (hub) => {
    hub.fault = ({ what, path, range }, count) => {
      if (what !== "storage" || count !== 2) return;
      const file = files[path.slice(1) as keyof typeof files];
      const { headers } = partial(file, { range });
      const [start] = range!;
      const body = ReadableStream.from([file.read(start, start + 999)]);
      return new Response(body, { status: 206, headers });
    };
    const { endpoint } = hub;
    const { hash, warnings } = await page.do("keep", small, { endpoint });
    assert.equal(hash, files["m-Q4_0.gguf"].hash);
    assert.match(warnings[0], /the connection broke.*; trying again/);
  });

  await step("goes on after a reload", async (hub) => {
    const { endpoint } = hub;
    const reached = Promise.withResolvers<void>();
    const reloaded = Promise.withResolvers<void>();
    hub.fault = async ({ what, range }) => {
      if (what !== "storage" || range![0] < 6 << 20) return;
      reached.resolve();
      await reloaded.promise;
      return undefined;
    };
    const lost = page.do("keep", name, { endpoint }).catch(() => {});
    await reached.promise;
    await assert.rejects(page.do("forget", name), {
      message: /^Cannot delete .*: it is in use/,
    });
    await page.reload();
    reloaded.resolve();
    await lost;
    const [{ loaded }] = await page.do("kept");
    hub.asked.length = 0;
    const { hash, before } = await page.do("keep", name, { endpoint });
    assert.equal(hash, large.hash);
    assert.equal(before, loaded);
    assert.equal(hub.bytesAsked, large.size - loaded);
    assert.ok(before > 0 && before <= 6 << 20, `${before}`);
  });

  await step("takes all for a range", async (hub) => {
    hub.fault = ({ what, path }, count) => {
      if (what !== "storage" || count < 2) return;
      const file = files[path.slice(1) as keyof typeof files];
      const { headers, body } = partial(file, {});
      headers.delete("content-range");
      headers.set("content-length", `${file.size}`);
      return new Response(body, { headers });
    };
    const { endpoint } = hub;
    const { hash } = await page.do("keep", small, { endpoint });
    assert.equal(hash, files["m-Q4_0.gguf"].hash);
  });

  await step("uses nothing of a wrong hash", async () => {
    const wrong = { ...files["m-Q4_0.gguf"], hash: "0".repeat(64) };
    await using hub = new TestHub({ "m-Q4_0.gguf": wrong });
    await assert.rejects(
      page.do("generateFromStore", small, { endpoint: hub.endpoint }),
      {
        name: "FormatError",
        message: / have the hash .*, and should have 0{64}/,
      },
    );
    const [{ loaded, isWhole }] = await page.do("kept");
    assert.deepEqual([loaded, isWhole], [0, false]);
  });

  await step("fetches once for two pages", async (hub) => {
    const { endpoint } = hub;
    await using other = await visit(browser, `${site.url}/open`);
    const both = await Promise.all([
      page.do("keep", name, { endpoint }),
      other.do("keep", name, { endpoint }),
    ]);
    assert.deepEqual(both.map(({ hash }) => hash), [large.hash, large.hash]);
    assert.equal(hub.bytesAsked, large.size);
    const warnings = both.flatMap(({ warnings }) => warnings);
    assert.deepEqual(
      warnings,
      ["waiting for another page that fetches m-Q8_0.gguf"],
    );
  });

  await step("starts over where a URL has another file", async () => {
    let file = content(large.read(0, large.size - 1)), broken = true;
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      ({ headers }) => {
        const [, start, end] = headers.get("range")!.match(/(\d+)-(\d+)/)!;
        if (broken && Number(start) > 0) {
          return new Response(null, {
            status: 403,
            headers: { "access-control-allow-origin": "*" },
          });
        }
        return partial(file, { range: [Number(start), Number(end) + 1] }, {
          etag: file.hash,
          "access-control-allow-origin": "*",
          "access-control-expose-headers": "*",
        });
      },
    );
    const url = `http://127.0.0.1:${server.addr.port}/m.gguf`;
    await assert.rejects(page.do("keep", url, {}), { name: "UsageError" });
    file = content(large.read(1, large.size));
    broken = false;
    const { hash, before } = await page.do("keep", url, {});
    assert.deepEqual([hash, before], [file.hash, 0]);
  });

  // Only Chromium's driver can set how much there is.
  if (browserName !== "chrome") return;
  await step("says how much room there is", async (hub) => {
    const devtools = await page.page.createCDPSession();
    await devtools.send("Storage.overrideQuotaForOrigin", {
      origin: site.url,
      quotaSize: 4 << 20,
    });
    await assert.rejects(page.do("keep", name, { endpoint: hub.endpoint }), {
      name: "LimitError",
      message:
        /^Cannot keep the model: \d+ bytes are to be fetched, the browser has no room for more than the \d+ that the site keeps$/,
    });
  });
});
