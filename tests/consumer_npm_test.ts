/** The package of npm in Node and Bun: its command line gives the texts that Deno gives. */
import assert from "node:assert/strict";
import { load } from "../mod.ts";
import { tinyBamboo } from "../tiny/tiny.ts";
import { needs, testNeeding } from "./helpers/needs.ts";
import { makeNpmProject, output } from "./helpers/npm_project.ts";
import { hasNpm, runtimes } from "./helpers/runtimes.ts";
import { serveFolder } from "./browser/site.ts";
import { writesStory } from "./browser/visit.ts";
import { decoded } from "./cli/run_cli.ts";
import { browserPath, openBrowser } from "./web/browsers.ts";
import config from "../deno.json" with { type: "json" };

const examples = `${import.meta.dirname}/../examples/`;
const prompt = "Once upon a time";
const options = { maxTokens: 24, seed: 1 };

/** A project's settings for TypeScript; libraries are checked too. */
const settings = {
  compilerOptions: {
    module: "nodenext",
    target: "es2022",
    lib: ["esnext", "dom"],
    types: [],
    strict: true,
    noEmit: true,
  },
  files: ["types.mts"],
};

const types = `
  import { load, type Piece } from "${config.name}";
  import { createServer } from "${config.name}/server";
  import { tinyBamboo } from "@culm/tiny";
  ${
  Object.keys(config.exports).map((entry, i) =>
    `export * as all${i} from "${config.name}${entry.slice(1)}";`
  ).join("\n")
}
  const model = await load(tinyBamboo(), { threads: 1, cacheType: "q8_0" });
  // @ts-expect-error: there is no such type
  await load(tinyBamboo(), { cacheType: "q9" });
  for await (const piece of model.generate("")) piece satisfies Piece;
  createServer(model).fetch satisfies (request: Request) => unknown;
`;

let cwd: string;
let expected: unknown[];

Deno.test.beforeAll(async () => {
  if (!hasNpm) return;
  cwd = await makeNpmProject({ typescript: "5.9.3", vite: "8.4.0" });
  await Deno.writeTextFile(`${cwd}/types.mts`, types);
  await Deno.writeTextFile(`${cwd}/tsconfig.json`, JSON.stringify(settings));
  await using model = await load(tinyBamboo(), { threads: 0 });
  expected = [
    model.tokenizer!.encode(prompt),
    await model.complete(prompt, options),
  ];
});

Deno.test.afterAll(async () => {
  if (hasNpm) await Deno.remove(cwd, { recursive: true });
});

/** Runs the command line that npm has put into the project. */
async function culm(command: string, args: string[], input = "") {
  const child = new Deno.Command(command, {
    args: ["node_modules/.bin/culm", ...args],
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  return decoded(await child.output());
}

for (const { name, command, need, isHere } of runtimes) {
  const test = (what: string, fn: () => Promise<void>) =>
    testNeeding(need, isHere && hasNpm, { name: `${name} ${what}`, fn });

  test("runs examples/node-script", async () => {
    const script = `${examples}node-script/story.js`;
    await Deno.copyFile(script, `${cwd}/story.mjs`);
    const story = await output(command, ["story.mjs"], cwd);
    assert.match(story, /^Once upon a time[^]{100}/);
  });

  test("runs the command line", async () => {
    const length = ["-n", "24", "--seed", "1", "-t", "1"];
    const told = await culm(command, ["generate", "-p", prompt, ...length]);
    assert.equal(told.out, `${prompt}${expected[1]}\n`, told.err);
    await Deno.writeTextFile(`${cwd}/prompt.txt`, `${prompt}\n`);
    const file = ["generate", "-f", "prompt.txt", ...length];
    assert.equal((await culm(command, file)).out, told.out);
    const tokens = await culm(command, ["tokenize", "--ids"], prompt);
    assert.deepEqual(JSON.parse(tokens.out), expected[0]);
    const chat = await culm(command, ["chat", ...length], "Hi\n");
    assert.match(chat.out, /\w/, chat.err);
    const wrong = await culm(command, ["inspect", "-m", "absent.gguf"]);
    assert.deepEqual(
      [wrong.code, wrong.err],
      [1, "error: Cannot open absent.gguf: there is no such file\n"],
    );
    const synth = ["synth", "--shape", "tiny", "-o", "small.gguf"];
    const made = await culm(command, [...synth, "--force"]);
    assert.equal(made.code, 0, made.err);
    const again = await culm(command, synth);
    assert.match(again.err, /small\.gguf: it is there already/);
  });

  test("serves, until it is told to end", async () => {
    const child = new Deno.Command(command, {
      args: ["node_modules/.bin/culm", "serve", "-t", "1", "--port", "0"],
      cwd,
      stderr: "piped",
    }).spawn();
    const lines = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    while (!said.includes("listening on ")) {
      const { value, done } = await lines.read();
      assert.ok(!done, said);
      said += value;
    }
    const url = said.match(/http:\S+/)![0];
    const ask = (body: object) =>
      fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt, ...body }),
      });
    const whole = await ask({ max_tokens: options.maxTokens, seed: 1 });
    assert.equal((await whole.json()).choices[0].text, expected[1]);
    // A client that goes away ends its text.
    const left = await ask({ max_tokens: 400, stream: true });
    await left.body!.cancel();
    const page = await fetch(url);
    assert.match(await page.text(), /<!doctype html>/);
    const { port } = new URL(url);
    const second = await culm(command, ["serve", "--port", port]);
    assert.match(second.err, /another program does; --port takes another\n$/);
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 0);
    await lines.cancel();
  });
}

const buildsSites = runtimes[0].isHere && hasNpm;
testNeeding(needs.chrome, buildsSites && browserPath("chrome") !== undefined, {
  name: "Vite builds examples/vite-app, which writes a story in chrome",
  fn: async () => {
    await output("cp", ["-r", `${examples}vite-app`, "."], cwd);
    const vite = ["../node_modules/vite/bin/vite.js", "build"];
    await output("node", vite, `${cwd}/vite-app`);
    await using site = serveFolder(`${cwd}/vite-app/dist`);
    const browser = await openBrowser("chrome");
    try {
      await writesStory(browser, `${site.url}/`);
    } finally {
      await browser.close();
    }
  },
  // The driver leaves timers and a process that ends by itself.
  sanitizeOps: false,
  sanitizeResources: false,
});

testNeeding(needs.node, runtimes[0].isHere && hasNpm, {
  name: "TypeScript knows the package's types, without other libraries",
  fn: async () => {
    await output("node", ["node_modules/typescript/bin/tsc"], cwd);
  },
});
