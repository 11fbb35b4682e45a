import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import { load } from "../../mod.ts";
import { fixtureUrl } from "../helpers/fixtures.ts";
import { assertLegible } from "./legible.ts";
import { stopped } from "./interrupted.ts";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import {
  inFolder,
  namesIn,
  type TempFolder,
  tempFolder,
} from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];
const story = "Tom had a red ball. He ran to the park with it, and met Lily. ";
const few = ["-c", "32", "--chunks", "3", "--decode-tokens", "8"];

function sparsity(...args: string[]): Promise<CliResult> {
  return runHere(["sparsity", "-t", "1", ...args]);
}

/** A folder with a corner of tiny-bamboo, its predictor and a text in it, away when the test ends. */
async function folder(): Promise<TempFolder> {
  const dir = await tempFolder();
  await Deno.copyFile(
    fixtureUrl("small-bamboo/f16.powerinfer.gguf"),
    `${dir.path}/tiny.gguf`,
  );
  await Deno.writeTextFile(`${dir.path}/text`, story.repeat(12));
  return dir;
}

Deno.test("quality is what perplexity says, bytes fall, and unions grow", async () => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const model = ["-m", at("tiny.gguf"), "-f", at("text")];
  const levels = ["--keep", "1,0.1,0.02", "--thresholds", "0.1,2"];
  // In a process of its own, with the permissions that it needs.
  const made = await runCli(
    [
      "sparsity",
      ...["-t", "1", ...model, ...few, ...levels, "--tokens", "64"],
      ...["--svg", at("figure.svg")],
    ],
    { permissions },
  );
  assert.equal(made.code, 0, made.err);
  const names = ["live", "predictor", "quality", "union"].map((name) =>
    `figure-${name}.svg`
  );
  assert.deepEqual(await namesIn(dir.path), [...names, "text", "tiny.gguf"]);
  for (const name of names) {
    const svg = await Deno.readTextFile(at(name));
    assertLegible(svg);
    assert.equal(/NaN|undefined|Infinity/.test(svg), false, name);
    const { document } = parseHTML(svg);
    const labels = [...document.querySelectorAll("text")]
      .map(({ textContent }) => textContent);
    assert.ok(labels.some((text) => /per token|layer|tokens/.test(text!)));
  }

  const { rows, activity } = JSON.parse(
    (await sparsity(...model, ...few, ...levels, "--tokens", "64", "--json"))
      .out,
  );
  assert.deepEqual(
    rows.map(({ sparsity }: { sparsity: string }) => sparsity),
    ("dense exact top-k=0.1 top-k=0.02 threshold=0.1 threshold=2 predictor " +
      "recall=0.9 recall=0.95 recall=0.99").split(" "),
  );
  const perplexity = JSON.parse(
    (await runHere([
      "perplexity",
      ...["-t", "1", ...model, "-c", "32", "--chunks", "3"],
      ...["--keep", "1,0.1,0.02", "--json"],
    ])).out,
  ).rows;
  [rows[0], rows[2], rows[3]].forEach((row, i) => {
    assert.equal(row.perplexity, perplexity[i].perplexity);
    assert.equal(row.change, perplexity[i].change);
    assert.equal(row.changeError, perplexity[i].changeError);
  });
  const [dense, exact, some, least, low, high] = rows;
  assert.deepEqual([exact.perplexity, exact.divergence, exact.sameTop], [
    dense.perplexity,
    0,
    1,
  ]);
  assert.ok(exact.bytes < dense.bytes);
  assert.ok(some.divergence > 0 && least.divergence > some.divergence);
  assert.ok(high.divergence > low.divergence && high.downRows < low.downRows);
  assert.ok(least.downRows < some.downRows && some.downRows < 0.11);
  for (const row of [some, least, low, high]) {
    assert.ok(row.bytes <= exact.bytes);
    assert.ok(made.out.includes(`| ${row.perplexity.toFixed(4)} |`));
  }

  assert.equal(activity.tokens, 64);
  activity.unionShares.forEach((shares: number[], layer: number) => {
    assert.equal(shares.length, 6);
    assert.equal(shares[0], activity.liveShares[layer].mean);
    assert.ok(shares.every((share, i) => i === 0 || share > shares[i - 1]));
  });
  assert.deepEqual(activity.expertUse, []);
});

Deno.test("a predictor's rows have recall and precision, and each layer has its own", async () => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const model = ["-m", at("tiny.gguf"), "-f", at("text")];
  const args = [...model, ...few, "--keep", "1", "--thresholds", "0"];
  const scores = ["--scores=-1e9,1e9", "--recall", "0.5,0.9,1"];
  const { out, err } = await sparsity(
    ...[...args, ...scores, "--tokens", "40", "--json"],
    ...["--svg", at("figure.pdf")],
  );
  const { rows, predictor } = JSON.parse(out || err);
  const [, exact, threshold, own, all, none, ...recalls] = rows;
  assert.deepEqual(
    [threshold.divergence, all.divergence, all.recall, all.selected],
    [0, 0, 1, 1],
  );
  assert.equal(threshold.bytes, exact.bytes);
  assert.deepEqual([none.recall, none.selected, none.downRows], [0, 0, 0]);
  assert.ok(own.recall > 0.5 && own.recall < 1);
  assert.ok(own.precision > 0 && own.precision < 1);
  assert.ok(own.bytes > none.bytes && own.bytes < all.bytes);
  assert.equal(predictor.length, 2);
  const layers = predictor.map(({ recall }: typeof own) => recall);
  assert.ok(Math.min(...layers) < own.recall);
  assert.ok(Math.max(...layers) > own.recall);
  const [half, most, every] = recalls;
  assert.deepEqual(
    recalls.map(({ sparsity }: typeof own) => sparsity),
    ["recall=0.5", "recall=0.9", "recall=1"],
  );
  // On the text of which thresholds are chosen, and some of another path through it.
  assert.ok(Math.abs(half.recall - 0.5) < 0.1, half.recall);
  assert.ok(Math.abs(most.recall - 0.9) < 0.04, most.recall);
  assert.ok(every.recall > 0.97 && every.selected < 1, every.recall);
  assert.ok(half.bytes < most.bytes && most.bytes < every.bytes);
  assert.ok(half.divergence > every.divergence);
  assert.ok((await namesIn(dir.path)).includes("figure-predictor.pdf"));
  const csv = await sparsity(...args, "--tokens", "40", "--csv");
  const [header, ...lines] = csv.out.trimEnd().split("\n");
  assert.match(header, /^sparsity,downRows,bytes,.*,recall,precision$/);
  assert.equal(lines.length, 7);
  assert.deepEqual(lines[3].split(",").slice(0, 3), [
    "predictor",
    String(own.downRows),
    String(own.bytes),
  ]);
});

Deno.test("of a mixture of experts the use of each is told, and drawn", async () => {
  await inFolder(async (path) => {
    const at = (name: string) => `${path}/${name}`;
    const shape = ["--embedding-length", "192", "--feed-forward-length", "64"];
    const experts = ["--expert-count", "6", "--expert-used-count", "2"];
    const heads = ["--head-count", "2", "--head-count-kv", "1"];
    const sizes = ["--block-count", "3", "--vocab-size", "400"];
    const synth = await runHere(
      ["synth", "-o", at("moe.gguf"), ...shape, ...experts, ...heads, ...sizes],
    );
    assert.equal(synth.code, 0, synth.err);
    await Deno.writeTextFile(at("text"), story.repeat(12));
    const args = ["-m", at("moe.gguf"), "-f", at("text"), "--tokens", "30"];
    const { code, out, err } = await sparsity(
      ...[...args, ...few, "--json", "--svg", at("moe.svg")],
    );
    assert.equal(code, 0, err);
    const { activity } = JSON.parse(out);
    await using model = await load(at("moe.gguf"), {
      threads: 0,
      countNeurons: true,
    });
    const ids = model.tokenize(story.repeat(12)).slice(0, 30);
    using sequence = model.engine.createSequence();
    await model.engine.evaluate(sequence, ids, "none");
    assert.deepEqual(
      activity.expertUse,
      model.engine.expertCounts().map((counts) =>
        Array.from(counts, (count) => count / 30)
      ),
    );
    for (const shares of activity.expertUse) {
      const sum = shares.reduce((a: number, b: number) => a + b, 0);
      assert.ok(Math.abs(sum - 2) < 1e-12);
    }
    const svg = await Deno.readTextFile(at("moe-experts.svg"));
    assertLegible(svg);
    const { document } = parseHTML(svg);
    const [map] = document.querySelectorAll('g[aria-label="rect"]');
    assert.equal(map.querySelectorAll("rect").length, 3 * 6);
  });
});

Deno.test({
  name: "Ctrl-C keeps what is measured, and the same command goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await folder();
    const args = ["-m", `${dir.path}/tiny.gguf`, "-f", `${dir.path}/text`];
    args.push(...few, "--tokens", "200", "--json", "-t", "1");
    const { code, err } = await stopped(["sparsity", ...args], {
      permissions,
      when: `${dir.path}/tiny.gguf.sparsity`,
    });
    assert.equal(code, 130, err);
    assert.match(err, /kept [1-9]\d* of \d+ parts in/);
    const resumed = await sparsity(...args);
    assert.match(resumed.err, /^going on after \d+ of \d+ parts$/m);
    assert.deepEqual(await namesIn(dir.path), ["text", "tiny.gguf"]);
    assert.equal(resumed.out, (await sparsity(...args)).out);
  },
});

Deno.test("bad input is reported in one line", async (t) => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const wrong: [string[], number, RegExp][] = [
    [["--csv", "--json"], 2, /both --csv and --json/],
    [["--keep", "0"], 2, /it is a number above 0, at most 1/],
    [["--thresholds=-1"], 2, /it is a number from 0 up/],
    [["--scores", "a"], 2, /--scores.* it is a number/],
    [["--recall", "0.9,2"], 2, /--recall.* it is a number above 0, at most 1/],
    [["--tokens", "0"], 2, /from 1/],
    [["-f", at("none")], 1, /none: there is no such file/],
    [["-f", at("text"), "-c", "512"], 1, /context of 512: the text needs 1024/],
    [["-m", at("text"), "-f", at("text")], 1, /text/],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await sparsity(...args);
      assert.deepEqual([result.code, result.out], [code, ""], result.err);
      const last = result.err.trimEnd().split("\n").at(-1)!;
      assert.match(last, /^error: /);
      assert.match(last, message);
    });
  }
});
