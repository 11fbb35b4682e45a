/** What culm tells in Deno, case by case, it tells in every runtime, with threads and without. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { load } from "@culm/culm";
import * as esbuild from "esbuild";
import { openSite } from "../browser/site.ts";
import { testInBrowsers, visit } from "../browser/visit.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { makeNpmProject, output } from "../helpers/npm_project.ts";
import { hasNpm, runtimes } from "../helpers/runtimes.ts";
import { hasShared, sharedUrl } from "../helpers/shared_data.ts";
import { smollm2Url } from "../helpers/smollm2.ts";
import { browserPath, openBrowser } from "../web/browsers.ts";
import { type Sources, tellAll, type Told } from "./cases.ts";
import type { Acts } from "./in_page.ts";
import { lackingScript, lacks } from "./lacks.ts";

const here = (path: string) => new URL(path, import.meta.url);
const files: Readonly<Record<string, URL>> = {
  predicted: here("../fixtures/small-bamboo/q4_0.powerinfer.gguf"),
  ...hasShared("models/stories260K.gguf") &&
    { stories: sharedUrl("models/stories260K.gguf") },
};
/** It takes long, so that it is told of without threads by one browser alone. */
const smollm2 = existsSync(smollm2Url) && { smollm2: smollm2Url };

/** Models as a runtime finds them. */
function sourcesOf(
  files: Readonly<Record<string, URL>>,
  place: (name: string, url: URL) => string,
): Sources {
  const entries = Object.entries(files);
  return Object.fromEntries(
    entries.map(([name, url]) => [name, place(name, url)]),
  ) as unknown as Sources;
}
const paths = (of = files) => sourcesOf(of, (_, { pathname }) => pathname);
const urls = (of = files) => sourcesOf(of, (name) => `/${name}.gguf`);

/** Where a site has them. */
function served(of: Readonly<Record<string, URL>>): Record<string, URL> {
  const entries = Object.entries(of);
  return Object.fromEntries(
    entries.map(([name, url]) => [`/${name}.gguf`, url]),
  );
}

/**
 * What Deno tells, without threads, and what another tells. Tokens, texts and
 * messages are the same; numbers that are not whole may differ in their last
 * digits, for `Math.exp` is each engine's own.
 */
function assertSame(told: unknown, expected: unknown, where = ""): void {
  if (typeof expected === "number" && !Number.isInteger(expected)) {
    const off = Math.abs(Number(told) - expected);
    assert.ok(off < 1e-5, `${where}: ${told}, where Deno has ${expected}`);
  } else if (typeof expected === "object" && expected !== null) {
    const entries = told as Record<string, unknown>;
    assert.deepEqual(Object.keys(entries), Object.keys(expected), where);
    for (const [name, each] of Object.entries(expected)) {
      assertSame(entries[name], each, `${where}/${name}`);
    }
  } else assert.equal(told, expected, where);
}

/** As in an engine without relaxed SIMD. */
async function withPlainSimd<T>(run: () => Promise<T>): Promise<T> {
  const { validate } = WebAssembly;
  WebAssembly.validate = () => false;
  try {
    return await run();
  } finally {
    WebAssembly.validate = validate;
  }
}

/**
 * What Deno tells without threads: where the engine adds a product before it is
 * rounded, as V8 and SpiderMonkey do with relaxed SIMD where the CPU can, and
 * where it rounds twice, as plain SIMD does, and JavaScriptCore always.
 */
let fused: Told, plain: Told;
Deno.test.beforeAll(async () => {
  fused = await tellAll(paths({ ...files, ...smollm2 }), 0);
  plain = await withPlainSimd(() => tellAll(paths(), 0));
});

function check({ backend, cases }: Told, pattern: RegExp): void {
  assert.match(backend, pattern);
  const isPlain = isDeepStrictEqual(cases.embeddings, plain.cases.embeddings);
  const { SmolLM2, ...others } = (isPlain ? plain : fused).cases;
  assertSame(cases, "SmolLM2" in cases ? { ...others, SmolLM2 } : others);
}

/** Cases in which the last bits of a sum show: in numbers, where two tokens are about as likely, where a draw is between two. */
const sensitive = new Set([
  "a seed, of all tokens",
  "perplexity",
  "embeddings",
  "a chat",
  "a call of a tool",
]);

Deno.test("every case, in Deno with 2 threads", async () => {
  check(await tellAll(paths(), 2), /relaxed SIMD, 2 threads/);
});

Deno.test("all but sensitive cases, in Deno with plain SIMD", () => {
  assert.match(plain.backend, /SIMD128, inline/);
  for (const [name, each] of Object.entries(plain.cases)) {
    if (!sensitive.has(name)) assertSame(each, fused.cases[name], name);
  }
});

const backends = [[0, /, inline$/], [2, /, 2 threads$/]] as const;

let cwd: string | undefined;
Deno.test.afterAll(async () => {
  if (cwd) await Deno.remove(cwd, { recursive: true });
  await esbuild.stop();
});

/** A project that has the package of npm, and the cases. */
async function makeProject(): Promise<string> {
  const folder = await makeNpmProject();
  await esbuild.build({
    entryPoints: [here("cases.ts").pathname],
    outfile: `${folder}/cases.mjs`,
    target: "es2022",
  });
  await Deno.writeTextFile(
    `${folder}/main.mjs`,
    `import { tellAll } from "./cases.mjs";
    const [sources, threads] = JSON.parse(process.argv[2]);
    console.log(JSON.stringify(await tellAll(sources, threads)));`,
  );
  return folder;
}

for (const { name, command, need, isHere } of runtimes) {
  for (const [threads, pattern] of backends) {
    testNeeding(need, isHere && hasNpm, {
      name: `every case, in ${name} with ${threads} threads`,
      async fn() {
        cwd ??= await makeProject();
        const how = JSON.stringify([paths(), threads]);
        const out = await output(command, ["main.mjs", how], cwd);
        check(JSON.parse(out), pattern);
      },
      sanitizeOps: false,
      sanitizeResources: false,
    });
  }
}

testInBrowsers("every case", async (t, browser, name) => {
  const all = { ...files, ...name === "chrome" && smollm2 };
  await using site = await openSite(["in_page.ts"], served(all));
  for (const [threads, pattern] of backends) {
    await t.step(`with ${threads} threads`, async () => {
      await using page = await visit(browser, `${site.url}/isolated`);
      const sources = urls(threads ? all : files);
      check(await page.do("tellAll", sources, threads), pattern);
    });
  }
});

/** Scripts of a page that has the package of npm, by their paths on the site. */
async function bundledForPages(): Promise<Record<string, string>> {
  cwd ??= await makeProject();
  const { outputFiles } = await esbuild.build({
    entryPoints: [
      here("in_page.ts").pathname,
      here("../browser/in_worker.ts").pathname,
    ],
    entryNames: "[name]",
    outdir: "/",
    bundle: true,
    splitting: true,
    write: false,
    format: "esm",
    target: "safari17.4",
    nodePaths: [`${cwd}/node_modules`],
    logLevel: "warning",
  });
  return Object.fromEntries(outputFiles.map(({ path, text }) => [path, text]));
}

/** What Deno says of a model that pages keep. */
async function tellFrom(url: URL): Promise<string> {
  await using model = await load(url, { threads: 0 });
  return await model.complete("Once upon a time", {
    temperature: 0,
    maxTokens: 8,
  });
}

/** `deno test … -- --each`: also with one lacking at a time. */
const isEach = Deno.args.includes("--each");

testNeeding(needs.chrome, browserPath("chrome") !== undefined && hasNpm, {
  name: "every case, in Chromium without what Safari lacks",
  async fn(t) {
    await using site = await openSite([], {
      ...await bundledForPages(),
      ...served(files),
    });
    const kept = await tellFrom(files.predicted);
    const browser = await openBrowser("chrome");
    const test = (name: string, stubs: readonly (() => void)[]) =>
      t.step(name, async () => {
        const first = lackingScript(stubs);
        const url = `${site.url}/isolated`;
        await using page = await visit<Acts>(browser, url, first);
        check(await page.do("tellAll", urls(), 2), / SIMD/);
        const told = await page.do("tellFromStore", "/predicted.gguf");
        assert.deepEqual(told, { text: kept, isWhole: true, left: [] });
        const { text } = plain.cases["a text"] as { text: string };
        assert.equal(await page.do("tellFromWorker"), text);
      });
    try {
      await test("all of it", Object.values(lacks));
      for (const [what, stub] of Object.entries(isEach ? lacks : {})) {
        await test(what, [stub]);
      }
    } finally {
      await browser.close();
    }
  },
  // The driver leaves timers and a process that ends by itself.
  sanitizeOps: false,
  sanitizeResources: false,
});
