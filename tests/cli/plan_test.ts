import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { readGpuIndex, writeGpuIndex } from "../../src/plan/gpu_index.ts";
import { writeProfile } from "../../src/plan/profile_file.ts";
import { assertLegible } from "./legible.ts";
import { randomModel } from "../helpers/random_model.ts";
import { fixturePath } from "../helpers/fixtures.ts";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import { tinyFolder } from "./temp_folder.ts";

/** Works in a folder that has a random model of two layers of 96 neurons. */
async function withModel(
  work: (model: string, plan: Plan) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const model = `${folder}/model.gguf`;
    await Deno.writeFile(model, (await randomModel()).bytes);
    await work(model, (...args) => runHere(["plan", "-m", model, ...args]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

type Plan = (...args: string[]) => Promise<CliResult>;

const layers = [Uint32Array.of(0, 3, 95), new Uint32Array()];
const index = { capacity: 1 << 20, feedForwardSize: 96, layers };

async function readIndex(path: string) {
  return await readGpuIndex(fromBuffer(await Deno.readFile(path)));
}

Deno.test("a plan is a table by layer, a small model is left to the CPU, and JSON says the same", async () => {
  await withModel(async (_, plan) => {
    const here = await plan();
    assert.equal(here.code, 0);
    assert.match(here.out, /machine +this machine, measured: .*GPU/);
    const known = ["--machine", "rtx-4090"];
    const { code, out, err } = await plan(...known);
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /firing +every neuron alike/);
    assert.match(
      out,
      /budget +0 B of 23.5 GiB: nothing is better on the GPU/,
    );
    assert.match(out, /\n +1 +CPU +0\.0 % +0\.0 % +0 B( +[\d.]+){4}\n/);
    const { tokensPerSecond, layers, others } = JSON.parse(
      (await plan(...known, "--json")).out,
    );
    assert.match(
      out,
      new RegExp(`predicted +${tokensPerSecond.toFixed(2)} tokens/s`),
    );
    assert.equal(layers.length, 2);
    assert.equal(others["the CPU alone"].tokensPerSecond, tokensPerSecond);
  });
});

Deno.test("an index decides which neurons go to the GPU, and is written as it was read", async () => {
  await withModel(async (model, plan) => {
    const given = `${model}.given`, copy = `${model}.copy`;
    await Deno.writeFile(given, writeGpuIndex(index));
    const args = ["--gpu-index", given, "--vram-budget", "0.5", "--json"];
    const { code, out, err } = await plan(...args, "-o", copy);
    assert.equal(code, 0, err);
    assert.match(
      err,
      /neurons on the GPU: as .*\.given says\nwrote .*\.copy\n/,
    );
    const report = JSON.parse(out);
    assert.deepEqual(
      report.layers.map(({ hotShare }: { hotShare: number }) => hotShare),
      [3 / 96, 0],
    );
    assert(report.bytes > 0 && report.bytes <= report.budget);
    assert.deepEqual(await readIndex(copy), { ...index, capacity: 2 ** 29 });
    const again = await plan(...args, "-o", copy);
    assert.match(again.err, /is there already; --force replaces it/);
  });
});

Deno.test("an index beside the model is found, left out where it cannot be used, and reset", async () => {
  await withModel(async (model, plan) => {
    for (const name of [`${model}.gpuidx`, `${model}.generated.gpuidx`]) {
      await Deno.writeFile(name, writeGpuIndex(index));
      assert.match((await plan()).err, new RegExp(`as ${name} says`));
      assert.equal((await plan("--disable-gpu-index")).err, "");
      const { code, err } = await plan("--vram-budget", "0.0000001");
      assert.equal(code, 0);
      assert.match(err, /^warning: .* do not fit into 107 bytes; going on/);
      await Deno.writeFile(name, writeGpuIndex({ ...index, layers: [] }));
      assert.match((await plan()).err, /^warning: .*; going on without /);
      await Deno.remove(name);
    }
    const path = `${model}.generated.gpuidx`;
    await Deno.writeFile(path, writeGpuIndex(index));
    const { code, err } = await plan("--reset-gpu-index");
    assert.equal(code, 0, err);
    const { layers } = await readIndex(path);
    // What pays here is measured, but it is no three neurons of one layer.
    assert.notDeepEqual(layers, index.layers);
  });
});

Deno.test("what the index's flags cannot mean is one clear line", async () => {
  await withModel(async (model, plan) => {
    const path = `${model}.other`;
    const folder = model.slice(0, model.lastIndexOf("/"));
    await Deno.writeFile(
      path,
      writeGpuIndex({ ...index, feedForwardSize: 100 }),
    );
    const cases: [string[], number, RegExp][] = [
      [["--gpu-index", path], 1, /2 layers of 100 neurons, the model 2 of 96/],
      [["--gpu-index", path, "--reset-gpu-index"], 2, /give one of/],
      [["--machine", "abacus"], 2, /it is one of rtx-2080ti, rtx-4090/],
      [["--vram-budget", "x"], 2, /it is a number from -1/],
      [["--gpu-index", model], 1, /general\.architecture is "bamboo"/],
      [["--profile", folder], 1, /it has no activation_0\.pt/],
    ];
    for (const [args, expected, message] of cases) {
      const { code, out, err } = await plan(...args);
      assert.deepEqual([code, out], [expected, ""], args.join(" "));
      assert.match(err, message);
      assert.equal(err.trim().split("\n").length, 1);
    }
  });
  for (const flag of [["-o", "x"], ["--reset-gpu-index"]]) {
    const { code, err } = await runHere([
      "plan",
      "--machine",
      "rtx-4090",
      ...flag,
    ]);
    assert.equal(code, 2, err);
  }
});

Deno.test("a profile beside the model decides which neurons are hot", async () => {
  await withModel(async (model, plan) => {
    const counts = Uint32Array.from({ length: 96 }, (_, id) => id);
    const layer = { active: counts, gatePositive: counts };
    const profile = { tokens: 100, layers: [layer, layer] };
    await Deno.writeFile(`${model}.profile`, await writeProfile({ profile }));
    assert.match((await plan()).out, /firing +100 tokens, from .*\.profile\n/);
    const without = await plan("--no-profile");
    assert.match(without.out, /firing +every neuron alike/);
  });
});

Deno.test("PowerInfer's counts are a profile", async () => {
  await using dir = await tinyFolder();
  const { code, out, err } = await runCli([
    "plan",
    "-m",
    `${dir.path}/tiny.gguf`,
    "--profile",
    fixturePath("tiny-bamboo/activation"),
  ], { permissions: ["--allow-read"] });
  assert.equal(code, 0, err);
  assert.match(
    out,
    /firing +\d+ tokens, from .*activation\n/,
  );
});

Deno.test("Bamboo-7B on a known machine: the plan holds the card, the published figures stand beside, a picture has a bar for each layer", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const svg = `${folder}/plan.svg`;
    const { code, out, err } = await runCli(
      ["plan", "--machine", "rtx-2080ti", "--svg", svg],
      { permissions: [`--allow-read=${folder}`, `--allow-write=${folder}`] },
    );
    assert.equal(code, 0, err);
    const [, used] = out.match(/budget +([\d.]+) GiB of 10.5 GiB/)!;
    assert(Number(used) > 10.2 && Number(used) <= 10.5, used);
    const [, dense, exact, predictor] = out.match(
      /2080 Ti 11 GB +F16 +([\d.]+) +([\d.]+) +([\d.]+) +33\.50 +7\.64\n/,
    )!;
    assert(Number(dense) < Number(exact) && Number(exact) < Number(predictor));
    assert.match(out, /2080 Ti 11 GB +Q4_0( +[\d.]+){3} +- +-\n/);
    const drawn = await Deno.readTextFile(svg);
    assertLegible(drawn);
    const { document } = parseHTML(drawn);
    const bars = [...document.querySelectorAll('[aria-label="bar"] rect')];
    assert.equal(bars.length, 32 + 3 * 32);
    const sides = bars.slice(32).map((bar) =>
      ["x", "width"].map((name) => Number(bar.getAttribute(name)))
    ).sort(([a], [b]) => a - b);
    sides.slice(1).forEach(([x], i) =>
      assert.ok(x > sides[i][0] + sides[i][1] - 1e-6, "side by side")
    );
    assert.equal(
      document.querySelectorAll('[aria-label="dot"] circle').length,
      32,
    );
    assert.match(document.querySelector("text")!.textContent!, /Bamboo-7B F16/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
