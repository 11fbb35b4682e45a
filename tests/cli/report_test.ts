import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { stopped } from "./interrupted.ts";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import { namesIn, type TempFolder, tempFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];
const story = "Tom had a red ball. He ran to the park with it, and met Lily. ";

/** Names that would be markup, had they not been made text. */
const hostile = {
  name: '</title></style></svg><script>alert("1")</script>',
  file: "<img src=x onerror=alert(1)> & co.gguf",
  text: '"><b onclick=x>text',
};

function report(...args: string[]): Promise<CliResult> {
  return runHere(["report", "-t", "1", ...args]);
}

/** A folder with tiny-bamboo under a hostile name and a text in it, away when the test ends. */
async function folder(): Promise<
  TempFolder & { model: string; text: string }
> {
  const dir = await tempFolder();
  const { path } = dir;
  const source = tinyBamboo();
  const file = await readGguf(source);
  const tensors = await Promise.all(
    [...file.tensors.values()].map(async (tensor) => ({
      ...tensor,
      data: await source.read(tensor.offset, tensor.byteLength),
    })),
  );
  const metadata = new Map(file.metadata);
  metadata.set("general.name", { type: "string", value: hostile.name });
  const model = `${path}/${hostile.file}`, text = `${path}/${hostile.text}`;
  const bytes = await toBuffer(
    writeGguf({ magic: file.magic, metadata, tensors }),
  );
  await Deno.writeFile(model, bytes);
  await Deno.writeTextFile(text, story.repeat(12));
  return { ...dir, model, text };
}

async function readPage(path: string) {
  const html = await Deno.readTextFile(path);
  const { document } = parseHTML(html);
  /** The part of the page under a heading. */
  const under = (title: string): Element => {
    const headings = [...document.querySelectorAll("h2")];
    const found = headings.find(({ textContent }) => textContent === title);
    assert.ok(found, title);
    return found.parentElement!;
  };
  const rows = (title: string, table = 0): string[][] =>
    [...under(title).querySelectorAll("table")[table].querySelectorAll("tr")]
      .map((row) => [...row.children].map((cell) => cell.textContent ?? ""));
  return { html, document, under, rows };
}

Deno.test("a page says what the other commands say, loads nothing, and takes names as text", async (t) => {
  await using dir = await folder();
  const page = `${dir.path}/page.html`;
  const model = ["-m", dir.model], text = ["-f", dir.text, "-c", "32"];
  const shares = ["--keep", "1,0.1,0.01", "--chunks", "4"];
  // In a process of its own, whose arguments stand on the page.
  const args = [...model, ...text, ...shares, "-o", page];
  const made = await runCli(["report", "-t", "1", ...args], { permissions });
  assert.deepEqual([made.code, made.out], [0, ""], made.err);
  const names = [hostile.file, hostile.text, "page.html"].sort();
  assert.deepEqual(await namesIn(dir.path), names);
  const { html, document, under, rows } = await readPage(page);

  await t.step("names are text", () => {
    assert.equal(document.querySelector("h1")?.textContent, hostile.name);
    assert.equal(rows("The model")[0][1], dir.model);
    const provenance = under("How this was made").textContent ?? "";
    assert.ok(provenance.includes(hostile.text));
    for (const markup of ["<script", "<img", "<b "]) {
      assert.equal(html.includes(markup), false, markup);
    }
  });

  await t.step("nothing is loaded", () => {
    const loading = "script, img, link, iframe, object, embed, image, use, a";
    assert.equal(document.querySelectorAll(loading).length, 0);
    assert.equal(html.match(/@import|url\((?!#)|NaN|undefined/), null);
    assert.ok(html.includes(`Policy" content="default-src 'none'`));
  });

  await t.step("the first part sums up the others", () => {
    assert.equal(document.querySelector("h2")?.textContent, "Summary");
    const summary = Object.fromEntries(rows("Summary"));
    assert.equal(summary.model, "bamboo 8.00 M Q8_0");
    const layers = rows("Sparsity by layer");
    assert.equal(
      summary["neurons that fire for a token"],
      `${layers[7][2]} (gate > 0: ${layers[7][1]})`,
    );
    assert.ok(summary["hot neurons"].includes(` 10% take ${layers[7][4]} of`));
    const [, all, some] = rows("Perplexity by neurons kept");
    assert.equal(
      summary["perplexity, by neurons kept"],
      `${all[1]} of 100%; ${some[1]} of 10% (${some[3]})`,
    );
    for (const [mode, , decoding] of rows("Speed on this machine").slice(1)) {
      const speed = summary[`decoding here, ${mode}`];
      assert.equal(speed.split(" ")[0], decoding.split(" ")[0]);
      assert.equal(/times dense/.test(speed), mode !== "dense");
    }
    assert.match(
      summary["plan for this machine"],
      /^[\d.]+ tokens\/s predicted, all on the CPU$/,
    );
  });

  await t.step("every figure has a drawing", () => {
    const figures = [...document.querySelectorAll("figure")];
    assert.equal(figures.length, 9);
    for (const figure of figures) {
      assert.ok(figure.querySelector("svg svg"), figure.textContent ?? "");
      assert.ok(figure.querySelector("figcaption")?.textContent);
    }
  });

  await t.step("layers and positions", async () => {
    const [header, ...layers] = rows("Sparsity by layer");
    assert.deepEqual(header.slice(0, 3), ["layer", "gate > 0", "product ≠ 0"]);
    assert.equal(layers.length, 7, "six layers and their mean");
    const { out } = await runHere(
      ["cdf", "-t", "1", ...model, ...text, "--json"],
    );
    const [{ active, means, tokens }] = JSON.parse(out);
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    assert.equal(layers[6][2], percent(active));
    assert.equal(layers[6][4], percent(means["0.1"]));
    assert.equal(rows("Distribution of activations")[3][1], layers[6][4]);
    const { textContent } = under("Sparsity by layer");
    assert.ok(textContent?.includes(`${tokens} tokens of the text`));
    const positions = under("Sparsity by position").textContent ?? "";
    assert.match(positions, /0.*1.*2–3.*4–7.*8–15.*16–31/s);
  });

  await t.step("the map has a row a layer, hottest first", () => {
    const map = under("Hot neurons").querySelector("svg svg")!;
    const cells = map.querySelectorAll('g[aria-label="rect"] rect');
    assert.equal(cells.length, 6 * 128);
    const marks = map.querySelectorAll('g[aria-label="tick"] line');
    assert.equal(marks.length, 6);
  });

  await t.step("perplexity", async () => {
    const { out } = await runHere(
      ["perplexity", "-t", "1", ...model, ...text, ...shares, "--json"],
    );
    const values = JSON.parse(out).rows.map(
      ({ perplexity }: { perplexity: number }) => perplexity.toFixed(4),
    );
    const printed = rows("Perplexity by neurons kept").slice(1);
    assert.deepEqual(printed.map(([kept]) => kept), ["100%", "10%", "1%"]);
    assert.deepEqual(printed.map(([, ppl]) => ppl), values);
  });

  await t.step("plan and speed", () => {
    const plan = Object.fromEntries(rows("Plan for this machine"));
    assert.equal(plan.machine, "this machine, measured: 1 thread");
    assert.equal(plan.budget, "no GPU");
    const [, ...speed] = rows("Speed on this machine");
    assert.deepEqual(speed.map(([mode]) => mode), ["dense", "exact"]);
    for (const [, prompt, decoding, predicted] of speed) {
      assert.match(prompt, /^[\d.]+ \([\d.]+ to [\d.]+\)$/);
      assert.match(decoding, /^[\d.]+ \([\d.]+ to [\d.]+\)$/);
      assert.ok(Number(predicted) > 0);
    }
  });

  await t.step("the commands on the page are those that were given", () => {
    const lines = under("How this was made").querySelector("pre")?.textContent;
    assert.ok(lines?.startsWith("culm report -t 1 -m '"), lines ?? "");
    assert.match(lines!, /--keep 1,0\.1,0\.01 --chunks 4 -o/);
  });
});

Deno.test("without a text or a ReLU the page says what is missing", async () => {
  await using dir = await folder();
  const page = `${dir.path}/page.html`;
  const dense = ["--activation", "swiglu", "-o", page];
  const { code, err } = await report("-m", dir.model, ...dense);
  assert.equal(code, 0, err);
  const { under, rows, document } = await readPage(page);
  const sparsity = under("Sparsity by layer").textContent ?? "";
  assert.match(sparsity, /swiglu, is never zero/);
  const perplexity = under("Perplexity by neurons kept").textContent ?? "";
  assert.match(perplexity, /No text was given/);
  assert.deepEqual(rows("Speed on this machine").slice(1).map(([m]) => m), [
    "dense",
  ]);
  assert.equal(document.querySelectorAll("figure").length, 1);
});

Deno.test({
  name: "Ctrl-C leaves no page, and the same command goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await folder();
    await Deno.writeTextFile(dir.text, story.repeat(90));
    const page = `${dir.path}/page.html`;
    const args = ["-m", dir.model, "-f", dir.text, "-c", "64", "-o", page];
    args.push("--tokens", "64", "--chunks", "20", "--no-predictor");
    const { code, err } = await stopped(["report", "-t", "1", ...args], {
      permissions,
      when: `${dir.model}.report`,
    });
    assert.equal(code, 130, err);
    assert.match(
      err,
      /kept [1-9]\d* of \d+ parts in .*\.report; the same command/,
    );
    const names = [hostile.file, `${hostile.file}.report`, hostile.text];
    assert.deepEqual(await namesIn(dir.path), names.sort());
    const resumed = await report(...args);
    assert.equal(resumed.code, 0, resumed.err);
    assert.match(resumed.err, /^going on after \d+ of \d+ parts$/m);
    assert.deepEqual(
      await namesIn(dir.path),
      [hostile.file, hostile.text, "page.html"].sort(),
    );
  },
});

Deno.test("bad input is reported in one line, before anything is measured", async (t) => {
  await using dir = await folder();
  const page = ["-o", `${dir.path}/page.html`], model = ["-m", dir.model];
  const wrong: [string[], number, RegExp][] = [
    [model, 2, /-o, --output/],
    [[...model, "-o", dir.text], 1, /there already; --force/],
    [["-m", `${dir.path}/none`, ...page], 1, /none: there is no such file/],
    [["-m", dir.text, ...page], 1, /text/],
    [[...model, ...page, "-f", `${dir.path}/none`], 1, /no such file/],
    [[...model, ...page, "-f", dir.text], 1, /the text needs 1024 tokens/],
    [[...model, ...page, "--keep", "0"], 2, /a number above 0/],
    [[...model, ...page, "--sparsity", "dense"], 2, /--sparsity/],
  ];
  const before = await namesIn(dir.path);
  for (const [args, code, message] of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await runHere(["report", "-t", "1", ...args]);
      assert.deepEqual([result.code, result.out], [code, ""], result.err);
      const lines = result.err.trimEnd().split("\n");
      assert.equal(lines.length, 1, result.err);
      assert.match(lines[0], /^error: /);
      assert.match(lines[0], message);
    });
  }
  assert.deepEqual(await namesIn(dir.path), before);
});
