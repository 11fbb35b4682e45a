/** The page for trying models, as any host of files serves it: no header of it isolates. */
import assert from "node:assert/strict";
import type { Browser } from "puppeteer-core";
import { answerFrom, writeTry } from "../../scripts/try.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { ggufParts } from "../../src/formats/gguf/write.ts";
import { hubNameText, readHubName } from "../../src/hub/name.ts";
import { toByteSource } from "../../src/load/model_source.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import offered from "../../web/try/models.json" with { type: "json" };
import { content, TestHub } from "../helpers/hub_server.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import {
  type BrowserName,
  browserNames,
  browserPath,
  openBrowser,
} from "./browsers.ts";
import { phone, Visitor, wide } from "./visitor.ts";

const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ";

/** The page, written once for all browsers. */
const site = await Deno.makeTempDir();
let written: Promise<void> | undefined;
addEventListener("unload", () => Deno.removeSync(site, { recursive: true }));

const tiny = await toByteSource(tinyBamboo());
const bytes = await tiny.read(0, tiny.size);

Deno.test("the page offers models as the hub names them, of a known size", () => {
  for (const { name, size } of offered.models) {
    assert.equal(hubNameText(readHubName(name)), name);
    assert.ok(readHubName(name).quant, name);
    assert.ok(Number.isSafeInteger(size) && size > 1e8, `${name}: ${size}`);
  }
  const names = offered.models.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
});

for (const name of browserNames) {
  testNeeding(needs[name], browserPath(name) !== undefined, {
    name: `the page for trying models in ${name}`,
    fn: (t) => tryPage(t, name),
    // The driver leaves timers and a process that ends by itself.
    sanitizeOps: false,
    sanitizeResources: false,
  });
}

async function tryPage(t: Deno.TestContext, name: BrowserName): Promise<void> {
  const folder = await Deno.makeTempDir();
  await using hub = new TestHub({
    "m-Q4_0.gguf": content(bytes),
    "m-Q8_0.gguf": content(bytes.slice(0, 5000)),
  });
  await (written ??= writeTry(site));
  await using host = serve(hub);
  const browser = await openBrowser(name);
  try {
    const visitor = await openPage(browser, host.url);
    const step = (what: string, act: () => Promise<void>) => t.step(what, act);
    await step("has threads, and a model at once", async () => {
      await visitor.untilText(
        "#engine",
        /^tiny-bamboo · .*thread.* · isolated by the page's service worker$/,
      );
    });
    await step(
      "writes, and shows which neurons fire",
      () => tryWriting(visitor),
    );
    assert.deepEqual(visitor.complaints, []);
    await step(
      "fits, in light and dark, and is accessible",
      () => tryLooks(visitor),
    );
    await step("refuses files, and goes on", () => tryFiles(visitor, folder));
    await step("keeps models of the hub", () => tryHub(visitor, hub));
    await step("measures, and makes a picture", () => tryMeasuring(visitor));
    assert.deepEqual(await visitor.violations(), []);
  } finally {
    await browser.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Serves the page with a policy, and a hub on this machine in place of the real one. */
function serve({ endpoint, hosts }: TestHub) {
  const origins = hosts.split(",").map((host) => `http://${host}`).join(" ");
  const models = ["Q4_0", "Q8_0"].map((type) => ({
    name: `hf:owner/model-GGUF:${type}`,
    title: `Hub's ${type}`,
    about: "of the tests",
    size: tiny.size,
  }));
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      // As hosts of many sites do, it serves the page from a folder.
      const url = new URL(request.url.replace("/culm/", "/"));
      const { pathname } = url;
      if (pathname === "/models.json") {
        return Response.json({ endpoint, models });
      }
      const response = await answerFrom(site, new Request(url));
      response.headers.set("content-security-policy", policy + origins);
      if (pathname !== "/") return response;
      const html = await response.text();
      return new Response(
        html.replace("https://huggingface.co", origins),
        response,
      );
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/culm/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

async function openPage(browser: Browser, url: string): Promise<Visitor> {
  const visitor = await Visitor.open(browser, url, () => {
    const shared: File[] = [], saved: string[] = [];
    Object.assign(globalThis, { shared, saved });
    Object.assign(navigator, {
      canShare: () => true,
      share: ({ files }: { files: File[] }) => void shared.push(...files),
    });
    HTMLAnchorElement.prototype.click = function () {
      saved.push(this.download);
    };
  });
  const { page } = visitor;
  // The page is loaded once more, which ends what is asked of it.
  const isIsolated = () =>
    page.evaluate(() => globalThis.crossOriginIsolated).catch(() => false);
  while (!await isIsolated()) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return visitor;
}

async function tryWriting(visitor: Visitor): Promise<void> {
  const { page } = visitor;
  await visitor.press("Once upon a time");
  await visitor.untilText(".assistant .text", /(\S+\s+){5}/);
  await visitor.untilText("#share", /^[\d.]+\s%$/);
  await page.keyboard.press("Escape");
  await visitor.untilText(".assistant .state", /Stopped|^$/);
  await visitor.untilText(".assistant .actions", /Regenerate/);
  await visitor.untilText("#neurons-summary", /% of the CPU's neurons fire/);
  assert.match(await visitor.text("#speed"), /^[\d.]+$/);
  assert.match(await visitor.text("#first"), /^\d+$/);
  for (const canvas of ["#neurons-picture", "#neurons-shares"]) {
    assert.ok(await coloursOf(visitor, canvas) > 2, canvas);
  }
  const written = await visitor.text(".assistant .text");
  await visitor.say("Then");
  await visitor.untilCount(".assistant", 2);
  await visitor.untilText(".assistant:last-child .text", /\S/);
  // It may have ended by then.
  await page.$eval("#stop", (button) => (button as HTMLElement).click());
  await visitor.untilText(".assistant:last-child .actions", /Regenerate/);
  assert.equal((await visitor.texts(".assistant .text"))[0], written);
}

/** How many colours a canvas shows. */
function coloursOf({ page }: Visitor, selector: string): Promise<number> {
  return page.$eval(selector, (element) => {
    const canvas = element as HTMLCanvasElement;
    const context = canvas.getContext("2d")!;
    const { width, height } = canvas;
    const { buffer } = context.getImageData(0, 0, width, height).data;
    return new Set(new Uint32Array(buffer)).size;
  });
}

async function tryLooks(visitor: Visitor): Promise<void> {
  const { page } = visitor;
  for (const [theme, size] of [["light", wide], ["dark", phone]] as const) {
    await page.evaluate((theme) => {
      document.documentElement.dataset.theme = theme;
    }, theme);
    await page.setViewport(size);
    await visitor.checkAccess(`${theme}, ${size.width} pixels`);
  }
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= phone.width, `${width} of ${phone.width}`);
  await page.setViewport(wide);
}

async function tryFiles(visitor: Visitor, folder: string): Promise<void> {
  const input = await visitor.page.$("#file");
  const open = async (name: string, bytes: Uint8Array, size = bytes.length) => {
    const path = `${folder}/${name}`;
    await Deno.writeFile(path, bytes);
    await Deno.truncate(path, size);
    await (input as unknown as { uploadFile(path: string): Promise<void> })
      .uploadFile(path);
  };
  const refuses = async (pattern: RegExp) => {
    await visitor.untilText("#notices", pattern);
    await visitor.untilText("#engine", /^tiny-bamboo · .*thread/);
  };
  await open("text.gguf", new TextEncoder().encode("This is no model."));
  await refuses(/^text\.gguf: .*begins with GGUF or PWRI/);
  await open("cut.gguf", bytes.subarray(0, 3_000_000));
  await refuses(/^cut\.gguf: .*the file has 3000000/);
  const { header, size } = await largeModel();
  await open("large.gguf", header, size);
  await refuses(/^large\.gguf: .*a WASM memory has/);
  await open("mine.gguf", bytes);
  await visitor.untilText("#engine", /^mine\.gguf · .*thread/);
  assert.equal(await visitor.text("#notices"), "");
  assert.match(await visitor.text("#model-list .used"), /mine\.gguf.*In use/s);
}

/** The header of a model that no browser has room for, and the size of its file, which takes no room itself. */
async function largeModel() {
  const { metadata, tensors } = await readGguf(tiny);
  const side = 1 << 24;
  const large = ggufParts({
    metadata: metadata.entries().map(([key, entry]) =>
      key.endsWith("feed_forward_length")
        ? [key, { type: "uint32", value: side }]
        : [key, entry]
    ),
    tensors: [...tensors.values()].map(({ name, type, shape }) => ({
      name,
      type,
      shape: shape.map((length) => length === 1024 ? side : length),
      data: () => ReadableStream.from([]),
    })),
  });
  const lengths = large.tensors.map(({ byteLength }) => byteLength);
  const size = lengths.reduce((sum, each) => sum + each, large.header.length);
  return { header: large.header, size };
}

async function tryHub(visitor: Visitor, hub: TestHub): Promise<void> {
  const held = Promise.withResolvers<void>();
  hub.fault = async ({ what, range }) => {
    if (what !== "storage") return undefined;
    if (range![0] >= 3 << 20) await held.promise;
    // Of what comes at once, the page is not told all.
    else if (range![0] > 0) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return undefined;
  };
  await visitor.press("Get Hub's Q4_0");
  await visitor.untilText("#model-list", /[1-4]\.\d of 8\.6 MB/);
  await visitor.press("Cancel Hub's Q4_0");
  await visitor.untilText("#model-list", /Resume/);
  held.resolve();
  hub.asked.length = 0;
  await visitor.press("Resume Hub's Q4_0");
  await visitor.untilText("#engine", /^Hub's Q4_0 · .*thread/);
  const ranges = hub.asked.flatMap(({ range }) => range ? [range[0]] : []);
  assert.ok(!ranges.includes(0), `${ranges}`);
  // The hub refuses, which is told in one line.
  for (const [status, said] of [[401, "find owner/"], [403, "read http"]]) {
    hub.fault = () => new Response(null, { status: Number(status) });
    await visitor.press("Get Hub's Q8_0");
    const line = new RegExp(`^Hub's Q8_0: Cannot ${said}.*\\.\\s*Close$`);
    await visitor.untilText("#notices", line);
  }
  // The network is lost, and comes back.
  hub.fault = ({ what }) =>
    what === "storage" ? new Response(null, { status: 503 }) : undefined;
  await visitor.press("Get Hub's Q8_0");
  await visitor.untilText("#notices", /^Hub's Q8_0: .*503.*trying again/);
  await visitor.press("Cancel Hub's Q8_0");
  await visitor.untilText("#notices", /^$/);
  await visitor.press("Use tiny-bamboo");
  await visitor.untilText("#engine", /^tiny-bamboo · .*thread/);
  await visitor.press("Delete Hub's Q4_0");
  await visitor.untilText("#model-list", /Hub's Q4_0\s+of.* 8\.6 MB\s+Get/);
}

async function tryMeasuring(visitor: Visitor): Promise<void> {
  const { page } = visitor;
  await visitor.press("Measure");
  await visitor.untilText(
    "#measure-words",
    /% of all neurons are zero/,
    20_000,
  );
  assert.match(await visitor.text("#measure-machine"), /^\d+ cores?, \w+ \d+/);
  assert.match(await visitor.text("#measure-sparse"), /^[\d.]+ tokens\/s/);
  assert.match(await visitor.text("#measure-dense"), /^[\d.]+ tokens\/s/);
  assert.ok(await coloursOf(visitor, "#card") > 10);
  await visitor.checkAccess("measured");
  await visitor.press("Share…");
  await visitor.press("Save picture");
  const shown = await page.evaluate(async () => {
    // deno-lint-ignore no-explicit-any -- what this test has put there
    const { shared, saved } = globalThis as any;
    while (shared.length + saved.length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const { name, type } = shared[0];
    const { width, height } = await createImageBitmap(shared[0]);
    return { name, type, width, height, saved };
  });
  const name = "culm-tiny-bamboo.png";
  assert.deepEqual(shown, {
    name,
    type: "image/png",
    width: 1200,
    height: 630,
    saved: [name],
  });
}
