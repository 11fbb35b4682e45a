import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import {
  plan as makePlan,
  type PlanRequest,
} from "../../cli/commands/plan/planning.ts";
import { toSvg } from "../../cli/commands/plan/svg.ts";
import { layerRows } from "../../cli/commands/plan/text.ts";
import { firingOfLayers } from "../../plan.ts";
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

/** A plan of a mixture whose first layer has experts chosen more often than others, the second neurons that fire more often. */
async function mixturePlan() {
  const size = 192;
  const { model } = await randomModel({
    architecture: "smallthinker",
    hiddenSize: 256,
    headSize: 16,
    feedForwardSize: size,
    downByNeuron: true,
    expertCount: 8,
    usedExperts: 2,
    layerCount: 3,
  });
  const countsOf = (count: (expert: number, neuron: number) => number) => {
    const counts = Uint32Array.from(
      { length: 8 * size },
      (_, id) => count(Math.floor(id / size), id % size),
    );
    return { gatePositive: counts, active: counts };
  };
  const byExpert = countsOf((expert) => [1, 6].includes(expert) ? 700 : 100);
  const byNeuron = countsOf((_, neuron) => neuron % 4 === 3 ? 250 : 1);
  const profile = { tokens: 1000, layers: [byExpert, byNeuron, byExpert] };
  const machine = {
    description: "a machine of tests",
    cpu: { stream: 1e3, pick: 1e3 },
    gpu: { stream: 1e6, dispatch: 0, readBack: 0, transfer: 1e9, memory: 1e9 },
  };
  const request: PlanRequest = {
    name: "a mixture",
    model,
    machine,
    sparsity: { mode: "exact" },
    firing: firingOfLayers(model, profile, "even"),
    firingSource: "a test",
    profile,
    budget: 5_000_000,
    contextSize: 64,
    batchSize: 8,
    cacheType: "f16",
    positions: 64,
  };
  return makePlan(request);
}

Deno.test("the table and the picture of a mixture say which experts are on the GPU", async () => {
  const report = await mixturePlan();
  const { layers } = report.prediction;
  const rows = layerRows(report);
  const [experts, chosen] = ["experts", "chosen"].map((name) =>
    rows[0].indexOf(name)
  );
  const held = layers.map((layer) => layer.experts!);
  assert.ok(held.some(({ isWhole, held }) => isWhole && held > 0 && held < 8));
  assert.ok(held.some(({ isWhole }) => !isWhole));
  held.forEach((layer, i) => {
    const row = rows[i + 1];
    assert.match(String(row[experts]), new RegExp(`^${layer.held} of 8`));
    assert.equal(/% of each/.test(String(row[experts])), !layer.isWhole);
    assert.equal(row[chosen], `${layer.chosen.toFixed(1)} of 2`);
  });
  const svg = await toSvg(report);
  assertLegible(svg);
  const { document } = parseHTML(svg);
  const bars = [...document.querySelectorAll('[aria-label="bar"] rect')];
  const colourOf = (name: string) => {
    const label = [...document.querySelectorAll("text")]
      .find(({ textContent }) => textContent === name);
    assert.ok(label, name);
    return label.previousElementSibling!.getAttribute("fill");
  };
  // The first chart's bars; those that have no height are drawn too.
  layers.forEach(({ experts }, i) =>
    assert.equal(
      bars[i].getAttribute("fill"),
      colourOf(
        experts!.isWhole
          ? "whole experts on the GPU"
          : "neurons of all experts",
      ),
    )
  );
  const marks = document.querySelectorAll(
    `[aria-label="dot"][fill="${colourOf("chosen experts")}"] path`,
  );
  assert.equal(marks.length, layers.length);
  assert.ok(!svg.includes(">neurons on the GPU<"));
});
