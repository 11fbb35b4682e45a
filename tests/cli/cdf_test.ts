import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import {
  activationCdf,
  meanActivationShare,
  readProfile,
  writeProfile,
} from "../../plan.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { assertLegible } from "./legible.ts";
import { randomModel } from "../helpers/random_model.ts";
import { stopped } from "./interrupted.ts";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import { namesIn, type TempFolder, tinyFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];
const story = "Tom had a red ball. He ran to the park with it, and met Lily. ";

function cdf(...args: string[]): Promise<CliResult> {
  return runHere(["cdf", ...args], { input: story });
}

/** A folder with tiny-bamboo and a text in it, away when the test ends. */
async function folder(): Promise<TempFolder> {
  const dir = await tinyFolder();
  await Deno.writeTextFile(`${dir.path}/text`, story.repeat(4));
  return dir;
}

Deno.test("models and profiles stand side by side, as text, data and picture", async () => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const model = ["-m", at("tiny.gguf"), "-t", "1"];
  await runHere(
    ["profile", ...model, "-f", at("text"), "-o", at("counted")],
  );
  const counted = ["-f", at("text"), ...model, "--profile", at("counted")];
  const { code, out, err } = await cdf(...counted, "--svg", at("cdf.svg"));
  assert.equal(code, 0, err);
  const bytes = fromBuffer(await Deno.readFile(at("counted")));
  const { profile } = await readProfile(bytes);
  const share = meanActivationShare(activationCdf(profile), 0.1);
  const percent = `${(100 * share).toFixed(1)}%`;
  assert.match(out, /^\| hottest neurons .*counted .*tiny\.gguf .*Bamboo-7B/m);
  assert.match(
    out,
    new RegExp(
      `^\\| 10% +\\| +${percent} \\| +${percent} \\| +46.6% \\|$`,
      "m",
    ),
  );
  assert.equal(out.match(/^100% │.*100% │/m)?.length, 1, "two pictures");
  const svg = await Deno.readTextFile(at("cdf.svg"));
  assertLegible(svg);
  const lines = svg.match(/<path[^>]* stroke="#/g)?.length;
  assert.equal(lines, 12, "one line a layer");
  const { document } = parseHTML(svg);
  const texts = [...document.querySelectorAll("text")].map((text) =>
    text.textContent
  );
  for (const name of ["counted", "tiny.gguf"]) {
    assert.ok(texts.includes(`${name}, ${profile.tokens} tokens`), name);
  }
  const bars = [...document.querySelectorAll('g[aria-label="rect"]')];
  const colours = bars.map((bar) =>
    [...bar.querySelectorAll("rect")].map((cell) => cell.getAttribute("fill"))
  );
  const strokes = [...document.querySelectorAll('g[aria-label="line"]')]
    .map((group) =>
      [...group.querySelectorAll("path")].map((path) =>
        path.getAttribute("stroke")
      )
    ).filter((strokes) => strokes.length === 6);
  assert.deepEqual(colours, strokes, "a bar of the lines' colours a panel");
  const names = ["cdf.svg", "counted", "text", "tiny.gguf"];
  assert.deepEqual(await namesIn(dir.path), names);

  const reports = JSON.parse((await cdf(...counted, "--json")).out);
  assert.deepEqual(reports[0].layers, reports[1].layers);
  assert.equal(reports[0].tokens, profile.tokens);
  assert.equal(reports[0].means["0.1"], share);
  assert.equal(reports[1].layers.length, 6);
  assert.equal(reports[1].layers[5][100], 1);

  await Deno.rename(at("counted"), at("tiny.gguf.profile"));
  const beside = JSON.parse((await cdf(...model, "--json")).out);
  assert.deepEqual(beside[0].layers, reports[0].layers);
});

Deno.test("without a file the embedded model counts standard input, with no permission", async () => {
  const { code, out, err } = await runCli(["cdf", "-t", "1", "--json"], {
    input: story,
  });
  assert.equal(code, 0, err);
  const [{ name, layers }] = JSON.parse(out);
  assert.deepEqual([name, layers.length], ["tiny-bamboo", 6]);
});

Deno.test({
  name: "Ctrl-C keeps the counts, and the same command goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await folder();
    await Deno.writeTextFile(`${dir.path}/text`, story.repeat(120));
    const args = ["-m", `${dir.path}/tiny.gguf`, "-f", `${dir.path}/text`];
    args.push("-t", "1", "-c", "64", "--json");
    const { code, err } = await stopped(["cdf", ...args], {
      permissions,
      when: `${dir.path}/tiny.gguf.cdf`,
    });
    assert.equal(code, 130, err);
    assert.match(err, /kept the counts of [1-9]\d* of \d+ tokens/);
    assert.ok((await namesIn(dir.path)).includes("tiny.gguf.cdf"));
    const resumed = await cdf(...args);
    assert.match(resumed.err, /^going on after \d+ of \d+ tokens$/m);
    assert.deepEqual(await namesIn(dir.path), ["text", "tiny.gguf"]);
    assert.equal(resumed.out, (await cdf(...args)).out);

    const state = `${dir.path}/kept`;
    const named = await stopped(["cdf", ...args, "--state", state], {
      permissions,
      when: state,
    });
    assert.equal(named.code, 130, named.err);
    assert.match(named.err, /kept the counts of [1-9]\d* of \d+ tokens/);
    assert.deepEqual(await namesIn(dir.path), ["kept", "text", "tiny.gguf"]);
    const kept = await cdf(...args, "--state", state);
    assert.match(kept.err, /^going on after \d+ of \d+ tokens$/m);
    assert.equal(kept.out, resumed.out);
    assert.deepEqual(await namesIn(dir.path), ["text", "tiny.gguf"]);
  },
});

Deno.test("bad input is reported in one line", async (t) => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const swiglu = await randomModel({ architecture: "llama" });
  await Deno.writeFile(at("swiglu.gguf"), swiglu.bytes);
  const active = new Uint32Array(5);
  const layers = [{ active, gatePositive: active }];
  const empty = await writeProfile({ profile: { tokens: 1, layers } });
  await Deno.writeFile(at("empty"), empty);
  const wrong: [string[], number, RegExp][] = [
    [["-f", at("text"), "--profile", at("empty")], 2, /-f needs -m/],
    [["-m", at("tiny.gguf")], 1, /nobody has counted; give -f TEXT/],
    [["-m", at("none")], 1, /none: there is no such file/],
    [
      ["-m", at("a"), "-m", at("b"), "-f", at("text"), "--state", at("kept")],
      2,
      /--state is for one model and a text/,
    ],
    [["-m", at("tiny.gguf"), "--state", at("kept")], 2, /--state is for/],
    [["--profile", at("text")], 1, /text/],
    [["--profile", dir.path], 1, /it has no activation_0\.pt/],
    [["--profile", at("empty"), "--svg", at("text")], 1, /there already/],
    [["-m", at("swiglu.gguf"), "-f", at("text")], 1, /never zero/],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await runHere(["cdf", ...args]);
      assert.deepEqual([result.code, result.out], [code, ""], result.err);
      const last = result.err.trimEnd().split("\n").at(-1)!;
      assert.match(last, /^error: /);
      assert.match(last, message);
    });
  }
  await t.step("nothing fired", async () => {
    const { code, out } = await cdf("--profile", at("empty"));
    assert.equal(code, 0);
    assert.match(out, /^\| 50% +\| +0\.0% /m);
  });
});
