/** Somebody else's project that has the packages as npm would, with esbuild and in Node. */
import assert from "node:assert/strict";
import * as esbuild from "esbuild";
import { gzipSync } from "fflate";
import { serveFolder } from "./browser/site.ts";
import { testInBrowsers, writesStory } from "./browser/visit.ts";
import { tinyFolder } from "./cli/temp_folder.ts";
import { load } from "../mod.ts";
import { fromBase64 } from "../src/bytes/base64.ts";
import { tinyBamboo } from "../tiny/tiny.ts";
import { needs, testNeeding } from "./helpers/needs.ts";
import {
  linkedImports,
  majorOf,
  makeTarballs,
  output,
} from "./helpers/npm_project.ts";
import { hasWorkerd, serveWorker } from "./helpers/workerd.ts";
import config from "../deno.json" with { type: "json" };
import tiny from "../tiny/deno.json" with { type: "json" };
import relaxed from "../wasm/relaxed.js";
import simd128 from "../wasm/simd128.js";

const deno = Deno.execPath();
const root = `${import.meta.dirname}/../`;

/** Of the Node that is installed; 0 where there is none. */
const nodeVersion = await majorOf("node");

const prompt = "Once upon a time";
const options = { maxTokens: 24, seed: 1 };

const main = (threads: number) => `
  import { load } from "${config.name}";
  import { tinyBamboo } from "@culm/tiny";
  const model = await load(tinyBamboo(), { threads: ${threads} });
  const text = await model.complete(
    ${JSON.stringify(prompt)},
    ${JSON.stringify(options)},
  );
  console.log(JSON.stringify([model.backend, text]));
`;

/** Makes a folder that has the packages, and what they depend on, in node_modules, without npm. */
async function makeProject(): Promise<string> {
  const cwd = await makeTarballs();
  await output("tar", ["-xzf", "culm.tgz"], cwd);
  const settings = JSON.parse(
    await Deno.readTextFile(`${cwd}/package/package.json`),
  );
  const { [tiny.name]: _, ...dependencies } = settings.dependencies;
  await Deno.writeTextFile(
    `${cwd}/package.json`,
    JSON.stringify({ dependencies }),
  );
  await output(deno, ["install", "--quiet"], cwd);
  await Deno.mkdir(`${cwd}/node_modules/@culm`);
  await Deno.rename(`${cwd}/package`, `${cwd}/node_modules/${config.name}`);
  await output("tar", ["-xzf", "culm-tiny.tgz"], cwd);
  await Deno.rename(`${cwd}/package`, `${cwd}/node_modules/${tiny.name}`);
  await Deno.writeTextFile(`${cwd}/inline.mjs`, main(0));
  await Deno.writeTextFile(`${cwd}/threads.mjs`, main(2));
  const entries = Object.keys(config.exports)
    .filter((entry) => entry !== "./cli") // which is Deno's
    .map((entry, i) =>
      `export * as all${i} from "${config.name}${entry.slice(1)}";`
    );
  await Deno.writeTextFile(`${cwd}/entries.mjs`, entries.join("\n"));
  return cwd;
}

let cwd: string;
let expected: string;
let built: esbuild.BuildResult<{ metafile: true }>;

Deno.test.beforeAll(async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  expected = await model.complete(prompt, options);
  cwd = await makeProject();
  built = await esbuild.build({
    absWorkingDir: cwd,
    entryPoints: ["entries.mjs", "inline.mjs", "threads.mjs"],
    outdir: "bundled",
    bundle: true,
    format: "esm",
    splitting: true,
    target: "node22",
    metafile: true,
    logLevel: "silent",
  });
});

Deno.test.afterAll(async () => {
  await esbuild.stop();
  await Deno.remove(cwd, { recursive: true });
});

/** Runs a program of the project, which tells the text that the sources here tell. */
async function tellsTheSame(backend: RegExp, command: string, args: string[]) {
  const [described, text] = JSON.parse(await output(command, args, cwd));
  assert.match(described, backend);
  assert.equal(text, expected);
}

const unpermitted = ["run", "--quiet", "--no-prompt", "--no-config"];

Deno.test("esbuild bundles the package without a plugin, for Deno without a permission", async () => {
  assert.deepEqual(built.warnings, []);
  await tellsTheSame(/inline/, deno, [...unpermitted, "bundled/inline.js"]);
});

Deno.test("esbuild bundles every entry of the library", async () => {
  await output(deno, [...unpermitted, "bundled/entries.js"], cwd);
});

Deno.test("a bundle starts threads", async () => {
  await tellsTheSame(/2 threads/, deno, [...unpermitted, "bundled/threads.js"]);
});

/** The chunks that a program loads before it runs. */
function chunksAtStart({ outputs }: esbuild.Metafile, entry: string) {
  const atStart = new Set([entry]);
  for (const chunk of atStart) {
    for (const { path, kind } of outputs[chunk].imports) {
      if (kind === "import-statement") atStart.add(path);
    }
  }
  return atStart;
}

Deno.test("what only some programs need is in chunks of its own", () => {
  const { outputs } = built.metafile;
  const atStart = chunksAtStart(built.metafile, "bundled/inline.js");
  // The package's own chunks bear the names of the modules that are imported in time.
  const lazy =
    /\/chunks\/(?:relaxed|simd128|constrain|view|pull|page_files|worker\.bundle|plan_gpu|start_inline|thread_team|constraint|past|predictor_file|answer_parser)-/;
  const within = (paths: Iterable<string>) =>
    [...paths].flatMap((path) => Object.keys(outputs[path].inputs))
      .filter((input) => lazy.test(input));
  assert.equal(new Set(within(Object.keys(outputs))).size, 14);
  assert.deepEqual(within(atStart), []);
});

Deno.test("what imports `load` begins with at most 120 KB of scripts by gzip", async () => {
  const { outputFiles, metafile } = await esbuild.build({
    absWorkingDir: cwd,
    stdin: {
      contents: `export { load } from "${config.name}";`,
      resolveDir: cwd,
      sourcefile: "load.js",
    },
    outdir: "small",
    bundle: true,
    format: "esm",
    splitting: true,
    minify: true,
    metafile: true,
    write: false,
  });
  const atStart = chunksAtStart(metafile, "small/stdin.js");
  const sizes = outputFiles
    .filter(({ path }) => atStart.has(path.slice(path.indexOf("small/"))))
    .map(({ contents }) => gzipSync(contents, { level: 9 }).length);
  assert.equal(sizes.length, atStart.size);
  const size = sizes.reduce((sum, each) => sum + each, 0);
  assert.ok(size <= 120_000, `${size} bytes by gzip`);
});

Deno.test("the kernels that come with the first model have at most 250 KB by gzip", () => {
  for (const text of [relaxed, simd128]) {
    const size = fromBase64(text).length;
    assert.ok(size <= 250_000, `${size} bytes by gzip`);
  }
});

Deno.test("deno bundle makes one file that needs no permission", async () => {
  const settings = {
    links: [root],
    imports: linkedImports,
  };
  const folder = `${cwd}/linked`;
  await Deno.mkdir(folder);
  await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify(settings));
  await Deno.writeTextFile(`${folder}/main.ts`, main(0));
  await output(deno, ["bundle", "--quiet", "-o", "out.js", "main.ts"], folder);
  await tellsTheSame(/inline/, deno, [...unpermitted, "linked/out.js"]);
});

const examples = `${root}examples/`;

testInBrowsers("pages without a build write stories", async (t, browser) => {
  await using site = serveFolder(cwd);
  for (const name of ["browser-page", "web-worker"]) {
    await t.step(`examples/${name}`, async () => {
      await output("cp", ["-r", examples + name, "."], cwd);
      await Deno.symlink("../node_modules", `${cwd}/${name}/node_modules`);
      await writesStory(browser, `${site.url}/${name}/`);
      await Deno.remove(`${cwd}/${name}`, { recursive: true });
    });
  }
});

testNeeding(needs.workerd, hasWorkerd, {
  name: "Cloudflare's runtime answers by examples/cloudflare-worker, in 128 MB",
  fn: async () => {
    const folder = `${cwd}/worker`;
    await esbuild.build({
      absWorkingDir: cwd,
      stdin: {
        contents: await Deno.readTextFile(
          `${examples}cloudflare-worker/worker.js`,
        ),
        resolveDir: cwd,
      },
      outfile: "worker/worker.js",
      bundle: true,
      format: "esm",
      external: ["cloudflare:*"],
      loader: { ".wasm": "copy" },
      assetNames: "[name]",
      logLevel: "warning",
    });
    await using tiny = await tinyFolder();
    await Deno.rename(`${tiny.path}/tiny.gguf`, `${folder}/model.gguf`);
    await using server = await serveWorker(folder);
    const ask = async (more: object) => {
      const response = await fetch(`${server.url}/v1/completions`, {
        method: "POST",
        body: JSON.stringify({ prompt, max_tokens: 24, seed: 1, ...more }),
      });
      assert.equal(response.status, 200);
      return response;
    };
    const text = async (more: object) =>
      (await (await ask(more)).json()).choices[0].text;
    const before = await server.memory();
    const texts = await Promise.all([text({}), text({}), text({ seed: 2 })]);
    assert.deepEqual(texts.slice(0, 2), [expected, expected]);
    // One who goes away takes nothing along that others wait for.
    const left = await ask({ max_tokens: 400, stream: true });
    const [next] = await Promise.all([text({}), left.body!.cancel()]);
    assert.equal(next, expected);
    const grammar = 'root ::= "yes" | "no"';
    assert.match(await text({ grammar }), /^(yes|no)$/);
    const bytes = await server.memory() - before;
    assert.ok(bytes < 128e6, `${bytes} bytes`);
  },
});

testNeeding(needs.node, nodeVersion >= 24, {
  name: "Node runs a bundle",
  fn: () => tellsTheSame(/inline/, "node", ["bundled/inline.js"]),
});
