import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import { load } from "../../mod.ts";
import { scoreChunks, textChunks } from "../../lab.ts";
import { assertLegible } from "./legible.ts";
import { estimatePerplexity } from "../../src/lab/perplexity.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { type CliResult, runHere, startCli } from "./run_cli.ts";
import { namesIn, tinyFolder } from "./temp_folder.ts";

const story =
  "Tom had a red ball. He ran to the park with it, and there was Lily. "
    .repeat(40);
const permissions = ["--allow-read", "--allow-write"];

function perplexity(
  args: readonly string[],
  input = story,
): Promise<CliResult> {
  return runHere(["perplexity", "-t", "1", ...args], { input });
}

Deno.test("the output is llama-perplexity's, and the numbers are the library's", async () => {
  await using model = await load(tinyBamboo(), { threads: 1 });
  const chunks = textChunks(model.tokenizer, story, 128);
  const scores = (await Array.fromAsync(scoreChunks(model.engine, chunks)))
    .map(([score]) => score);
  const expected = scores.map((_, i) => {
    const { perplexity } = estimatePerplexity(scores.slice(0, i + 1));
    return `[${i + 1}]${perplexity.toFixed(4)},`;
  }).join("");
  const last = estimatePerplexity(scores);
  const { code, out, err } = await perplexity(["-c", "128"]);
  assert.equal(code, 0, err);
  assert.equal(
    out,
    `${expected}\nFinal estimate: PPL = ${last.perplexity.toFixed(4)} +/- ${
      last.error.toFixed(5)
    }\n`,
  );
  assert.match(err, /^perplexity: \d+ chunks of 128 tokens, in steps of 128$/m);
});

/** Heights of error bars, in units of the axis beside them. */
function heightsOfBars(document: Document): string[] {
  const axis = (
    kind: string,
  ) => [
    ...document.querySelectorAll(`[aria-label="y-axis tick label"] ${kind}`),
  ];
  const ticks = axis("text").map((tick) => ({
    value: Number(tick.textContent),
    y: Number(tick.getAttribute("transform")!.match(/,(.*)\)/)![1]),
  }));
  const [low, high] = [ticks[0], ticks.at(-1)!];
  const unit = (high.value - low.value) / (low.y - high.y);
  return [...document.querySelectorAll('[aria-label="rule"]')].flatMap((
    group,
  ) =>
    [...group.querySelectorAll("line")].map((line) =>
      unit * Math.abs(
        Number(line.getAttribute("y1")) - Number(line.getAttribute("y2")),
      )
    )
  ).filter((height) => height > 0).map((height) => height.toPrecision(3));
}

Deno.test("--keep gives a row for each share, in each form, and a picture", async () => {
  await using dir = await tinyFolder();
  await Deno.writeTextFile(`${dir.path}/text`, story);
  const args = ["-f", `${dir.path}/text`, "-c", "64", "--chunks", "4"];
  const dense = await perplexity([...args, "--sparsity", "dense"]);
  const [, all] = dense.out.match(/PPL = (\S+)/)!;
  const keep = [...args, "--keep", "1,0.1,0.01"];

  const table = await perplexity([...keep, "--svg", `${dir.path}/kept.svg`]);
  const lines = table.out.trimEnd().split("\n");
  assert.equal(lines.length, 5, table.err);
  assert.match(lines[0], /^\| neurons kept \| +PPL \| +\+\/- \| +change \|$/);
  assert.match(lines[2], new RegExp(`^\\| +100% \\| +${all} \\| .* \\+0.00% `));
  assert.match(lines[4], /^\| +1% \| /);

  const { rows } = JSON.parse((await perplexity([...keep, "--json"])).out);
  assert.deepEqual(rows.map(({ keep }: { keep: number }) => keep), [
    1,
    0.1,
    0.01,
  ]);
  assert.equal(rows[0].perplexity.toFixed(4), all);
  assert.equal(rows[2].tokens, 4 * 31);
  const csv = (await perplexity([...keep, "--csv"])).out.split("\n");
  const names = "sparsity,keep,tokens,nll,perplexity,error,change,changeError";
  assert.equal(csv[0], names);
  assert.equal(csv[2], names.split(",").map((name) => rows[1][name]).join(","));
  const [first, , last] = rows;
  assert.deepEqual([first.change, first.changeError], [0, 0]);
  const expected = Math.expm1(last.nll - first.nll);
  assert.ok(Math.abs(last.change - expected) < 1e-12);
  assert.ok(last.changeError > 0 && last.changeError * last.perplexity < 1e3);
  const change = (100 * last.change).toFixed(2);
  const changeError = (100 * last.changeError).toFixed(2);
  assert.ok(lines[4].includes(`+${change}% ± ${changeError}% `), lines[4]);

  const svg = await Deno.readTextFile(`${dir.path}/kept.svg`);
  assertLegible(svg);
  assert.match(svg, /^<svg .*4 chunks of 64 tokens.*<\/svg>\n$/s);
  assert.equal(svg.match(/<circle/g)?.length, 3);
  const { document } = parseHTML(svg);
  const textsOf = (label = "") =>
    [...document.querySelectorAll(`${label} text`)].map((text) =>
      text.textContent
    );
  assert.equal(textsOf()[0], "tiny-bamboo: perplexity of text");
  assert.match(textsOf()[1]!, /^bamboo 8.00 M Q8_0, /);
  assert.deepEqual(textsOf('[aria-label="x-axis tick label"]'), [
    "1",
    "10",
    "100",
  ]);
  const labels = rows.map(({ perplexity }: { perplexity: number }) =>
    perplexity.toFixed(3)
  );
  for (const label of labels) assert.ok(textsOf("svg svg").includes(label));
  assert.deepEqual(
    heightsOfBars(document),
    [1, 2].map((row) => {
      const { changeError } = rows[row];
      return (2 * changeError * first.perplexity).toPrecision(3);
    }).reverse(),
  );
  assert.deepEqual(await namesIn(dir.path), ["kept.svg", "text", "tiny.gguf"]);
});

Deno.test({
  name: "Ctrl-C keeps the chunks, and the same command goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await tinyFolder();
    const text = `${dir.path}/text`, state = `${dir.path}/tiny.gguf.perplexity`;
    await Deno.writeTextFile(text, story.repeat(5));
    const flags = ["-t", "1", "-m", `${dir.path}/tiny.gguf`, "-f", text];
    const args = ["perplexity", ...flags, "-c", "64"];
    const child = startCli(args, { permissions });
    await child.stdin.close();
    const reader = child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    let out = "";
    while (!out.includes("[3]")) out += (await reader.read()).value;
    child.kill("SIGINT");
    while (!(await reader.read()).done);
    const err = await new Response(child.stderr).text();
    assert.equal((await child.status).code, 130);
    assert.match(err, /kept \d+ of \d+ chunks in .*; the same command goes on/);

    const other = await runHere([...args, "--sparsity", "dense"]);
    assert.equal(other.code, 1);
    assert.match(other.err, /^error: .*is of another unfinished perplexity/m);

    const resumed = await runHere(args);
    assert.equal(resumed.code, 0, resumed.err);
    assert.match(resumed.err, /^going on after \d+ of \d+ chunks$/m);
    await assert.rejects(Deno.stat(state), Deno.errors.NotFound);
    const whole = await runHere(args);
    assert.equal(resumed.out, whole.out);
    assert.deepEqual(await namesIn(dir.path), ["text", "tiny.gguf"]);
  },
});

Deno.test("bad input is reported in one line", async (t) => {
  await using dir = await tinyFolder();
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.writeTextFile(at("state"), '{"unfinished":"eval"}');
  await Deno.writeTextFile(at("there.svg"), "");
  const wrong: [string[], number, RegExp][] = [
    [["--keep", "1,0"], 2, /it is a number above 0, at most 1/],
    [["--keep", "0.5,"], 2, /it is a number above 0, at most 1/],
    [["--keep", "0.5", "--sparsity", "dense"], 2, /both --keep and --sparsity/],
    [["--csv", "--json"], 2, /both --csv and --json/],
    [["--svg", at("a.svg")], 2, /--svg needs --keep/],
    [["--keep", "1", "--svg", at("there.svg")], 1, /there already; --force/],
    [["-c", "3"], 2, /whole number from 4/],
    [["-f", at("none")], 1, /none: there is no such file/],
    [["-c", "512", "-f", "-"], 1, /context of 512: the text needs 1024/],
    [["-c", "64", "--state", at("state")], 1, /is no unfinished perplexity/],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await perplexity(args);
      assert.equal(result.code, code, result.err);
      assert.equal(result.out, "");
      const lines = result.err.trimEnd().split("\n");
      assert.match(lines.at(-1)!, /^error: /);
      assert.match(lines.at(-1)!, message);
    });
  }
});
