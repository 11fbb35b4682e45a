/**
 * A browser fetches a model of 200 MB from a hub on this machine into its store:
 * once, for the rate; slowly, for what loading meanwhile gains; through reloads,
 * a second tab, broken connections, refusals and answers to another request, all
 * of them random; with a wrong byte; and without room. In the end the model says
 * what it says in Deno, nothing else was ever used, and nothing that was there
 * was fetched again.
 *
 * Run: `deno task bench:store [SEED]`
 *
 * @module
 */
import assert from "node:assert/strict";
import { load } from "@culm/culm";
import { synthesise } from "@culm/culm/lab";
import { openSite, type Site } from "../tests/browser/site.ts";
import { type Visit, visit } from "../tests/browser/visit.ts";
import {
  type Asked,
  type Content,
  content,
  partial,
  TestHub,
} from "../tests/helpers/hub_server.ts";
import { seededRandom } from "../tests/helpers/seeded_random.ts";
import {
  type BrowserName,
  browserNames,
  browserPath,
  openBrowser,
} from "../tests/web/browsers.ts";

const name = "hf:owner/model-GGUF:Q8_0";
const reloads = 8;
/** How fast the network is where it is slow, in bytes a second. */
const slow = 20e6;
const seed = Number(Deno.args[0] ?? Date.now() % 1e6);

const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

async function makeModel(): Promise<Content> {
  const { chunks } = synthesise({
    shape: {
      hiddenSize: 1024,
      feedForwardSize: 4096,
      layerCount: 8,
      headCount: 16,
      kvHeadCount: 4,
      vocabSize: 32000,
      contextSize: 256,
    },
    type: "Q8_0",
    form: "powerinfer",
    activation: "drelu",
    gatePositive: 0.39,
    active: 0.15,
    seed: 1,
  });
  return content(await new Response(ReadableStream.from(chunks)).bytes());
}

async function idsHere(model: Content): Promise<number[]> {
  await using loaded = await load(model.read(0, model.size), { threads: 1 });
  const text = { maxTokens: 24, temperature: 0 };
  const pieces = loaded.generate("Once upon a time", text);
  return (await Array.fromAsync(pieces)).map(({ id }) => id);
}

const file = await makeModel();
const ids = await idsHere(file);
console.log(`${mb(file.size)}; seed ${seed}`);

/** The storage of a hub, as it answers over a network: counts what it sends, at a rate, and may break off. */
class Network {
  sent = 0;
  readonly starts: number[] = [];
  #free = performance.now();

  constructor(readonly rate = Infinity) {}

  answer({ range }: Asked, of = file, isCut = false): Response {
    const [start, end] = range!;
    const { headers } = partial(of, { range: [start, start] });
    headers.set("content-range", `bytes ${start}-${end - 1}/${of.size}`);
    headers.set("content-length", `${end - start}`); // Or the end is a good one.
    this.starts.push(start);
    return new Response(this.#body(of, start, end, isCut), {
      status: 206,
      headers,
    });
  }

  /** All of the file, to whoever asked for a range. */
  whole(): Response {
    const headers = { "content-length": `${file.size}` };
    return new Response(this.#body(file, 0, file.size, false), { headers });
  }

  #body(of: Content, start: number, end: number, isCut: boolean) {
    const last = isCut ? start + (end - start >> 1) : end;
    return new ReadableStream({
      pull: async (controller) => {
        const next = Math.min(last, start + (1 << 16));
        const now = performance.now();
        this.#free = Math.max(now, this.#free) +
          (next - start) / this.rate * 1e3;
        const pause = this.#free - now;
        if (pause > 1) await new Promise((done) => setTimeout(done, pause));
        controller.enqueue(of.read(start, next));
        this.sent += next - start;
        start = next;
        if (start === last) controller.close();
      },
    }, { highWaterMark: 0 });
  }
}

/** One part of the trial, in a browser of its own. */
async function part(
  browserName: BrowserName,
  what: string,
  act: (
    page: Visit,
    hub: TestHub,
    site: Site,
    open: () => Promise<Visit>,
  ) => Promise<string>,
): Promise<void> {
  await using hub = new TestHub({ "model-Q8_0.gguf": file });
  const browser = await openBrowser(browserName);
  try {
    const open = () => visit(browser, `${site.url}/isolated`);
    const said = await act(await open(), hub, site, open);
    console.log(`${browserName}, ${what}: ${said}`);
  } finally {
    await browser.close();
  }
}

/** The model runs, from the store, and says what it should. */
async function runs(page: Visit, { endpoint }: TestHub) {
  const said = await page.do("generateFromStore", name, { endpoint });
  assert.deepEqual(said.ids, ids);
  return said;
}

const onStorage = (hub: TestHub, answer: (asked: Asked) => Response) => {
  hub.fault = (asked) => asked.what === "storage" ? answer(asked) : undefined;
};

async function loadedIn(page: Visit): Promise<number> {
  const [model] = await page.do("kept");
  return model?.loaded ?? 0;
}

await using site = await openSite(["in_page.ts"], {});
for (const each of browserNames.filter((name) => browserPath(name))) {
  await part(each, "a fast network", async (page, hub) => {
    const network = new Network();
    onStorage(hub, (asked) => network.answer(asked));
    const { ms } = await runs(page, hub);
    assert.equal(network.sent, file.size);
    return `${mb(file.size / (ms.whole / 1000))} a second, ${
      Math.round(ms.first)
    } ms to the first token`;
  });

  for (const waits of [true, false]) {
    const how = waits ? "loading behind it" : "loading meanwhile";
    await part(each, `${mb(slow)} a second, ${how}`, async (page, hub) => {
      const network = new Network(slow);
      onStorage(hub, (asked) => network.answer(asked));
      const { endpoint } = hub;
      const options = { endpoint };
      const said = await page.do("generateFromStore", name, options, waits);
      assert.deepEqual(said.ids, ids);
      const { whole, first } = said.ms;
      return `${Math.round(first)} ms to the first token, ${
        Math.round(first - whole)
      } ms of them behind the last byte`;
    });
  }

  await part(each, "through everything", async (first, hub, _, open) => {
    const random = seededRandom(seed);
    const network = new Network(60e6);
    const faults = { cut: 0, refused: 0, whole: 0 };
    onStorage(hub, (asked) => {
      const dice = random();
      if (dice < 0.1) return faults.cut++, network.answer(asked, file, true);
      if (dice < 0.15) {
        faults.refused++;
        return new Response(null, { status: 503 });
      }
      if (dice < 0.17) return faults.whole++, network.whole();
      return network.answer(asked);
    });
    const pages = [first, await open()];
    const { endpoint } = hub;
    const keep = (page: Visit) =>
      page.do("keep", name, { endpoint }).then(({ hash }) => hash, () => {});
    for (let i = 0; i < reloads; i++) {
      const before = await loadedIn(pages[0]);
      if (before === file.size) break;
      const asked = network.starts.length;
      const both = pages.map(keep);
      const until = before + random() * 2 * (file.size - before) /
          (reloads + 1 - i);
      while (await loadedIn(pages[0]) < until) {
        await new Promise((done) => setTimeout(done, 20));
      }
      for (const page of pages) await page.reload();
      await Promise.all(both);
      const least = Math.min(...network.starts.slice(asked));
      assert.ok(least >= before, `asked for ${least}, ${before} were there`);
    }
    const hashes = await Promise.all(pages.map(keep));
    assert.deepEqual(hashes, [file.hash, file.hash]);
    const { sent } = network;
    await Promise.all(pages.map((page) => runs(page, hub)));
    assert.equal(network.sent, sent);
    return `${reloads} reloads of two tabs, ${faults.cut} broken connections, ${faults.refused} refusals, ${faults.whole} times all for a range; ${
      mb(sent)
    } sent`;
  });

  await part(each, "a wrong byte", async (page, hub) => {
    const bytes = file.read(0, file.size);
    bytes[file.size >> 1] ^= 1;
    const wrong: Content = {
      ...file,
      read: (from, to) => bytes.slice(from, to),
    };
    const network = new Network();
    onStorage(hub, (asked) => network.answer(asked, wrong));
    await assert.rejects(runs(page, hub), { name: "FormatError" });
    assert.equal(await loadedIn(page), 0);
    onStorage(hub, (asked) => network.answer(asked));
    await runs(page, hub);
    return "refused, and fetched anew";
  });

  // Only Chromium's driver can set how much there is.
  if (each !== "chrome") continue;
  await part(each, "no room", async (page, hub) => {
    const network = new Network();
    onStorage(hub, (asked) => network.answer(asked));
    const devtools = await page.page.createCDPSession();
    const quota = (quotaSize?: number) =>
      devtools.send("Storage.overrideQuotaForOrigin", {
        origin: site.url,
        quotaSize,
      });
    await quota(file.size >> 1);
    await assert.rejects(runs(page, hub), { name: "LimitError" });
    const there = await loadedIn(page);
    await quota();
    network.starts.length = 0;
    await runs(page, hub);
    const least = Math.min(...network.starts);
    assert.ok(least >= there, `asked for ${least}, ${there} were there`);
    return `refused with ${mb(there)} there, and gone on from there`;
  });
}
