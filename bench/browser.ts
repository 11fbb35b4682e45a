/**
 * culm beside wllama and Transformers.js on isolated pages in Chromium, in turns.
 * Each visit has a fresh browser: the model comes by the network, then from what
 * the browser kept; then texts of the same ids are measured. In a first round
 * each side has every number of threads, in the others the one with which it
 * decoded fastest.
 *
 * Transformers.js reads ONNX: that file is made of the same weights, and is q4
 * beside all types.
 *
 * Run: `deno task bench:browser [--type Q4_1|Q8_0|Q4_K_M] [--rounds 3]
 *       [--only culm,wllama] [--threads 1,2] [--model FILE]`
 *
 * @module
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { median } from "../cli/commands/bench/roofline.ts";
import { modelPath, promptsOf } from "./browser/prompts.ts";
import {
  modelFiles,
  modelTypes,
  ownScripts,
  peerScripts,
  type SideName,
  sideNames,
} from "./browser/sides.ts";
import { openSite } from "./browser/site.ts";
import { type Figures, visit } from "./browser/visit.ts";
import { numberOf, optionsOf } from "./options.ts";

const options = optionsOf(() => {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      type: { type: "string", default: "Q4_1" },
      rounds: { type: "string", default: "3" },
      only: { type: "string", default: sideNames.join() },
      threads: { type: "string", default: "1,2" },
      model: { type: "string", default: modelPath },
    },
  });
  const type = modelTypes.find((type) => type === values.type);
  if (!type) throw new Error(`--type is one of ${modelTypes.join(", ")}`);
  const only = values.only.split(",");
  const sides = sideNames.filter((name) => only.includes(name));
  if (sides.length < only.length) {
    throw new Error(`--only has some of ${sideNames.join(", ")}`);
  }
  return {
    type,
    sides,
    rounds: numberOf(values.rounds, "--rounds"),
    threads: values.threads.split(",").map((n) => numberOf(n, "--threads")),
    model: values.model,
  };
});
const promptOf = await promptsOf(options.model);
const prompt = promptOf(16, 144), decode = 33;

await using site = await openSite({
  engine: { ...await ownScripts("culm.ts"), ...await peerScripts() },
  models: await modelFiles(options.model, options.type),
});

async function run(side: SideName, threads: number): Promise<Figures> {
  const model = side === "transformers" ? "model" : "model.gguf";
  const first = promptOf(0, 16);
  const work = { model, threads, first, prompt, decode, texts: 2 };
  const figures = await visit(site, side, work);
  console.error(side, threads, figures);
  return figures;
}

/** The number of threads with which each side decodes fastest. */
const best = new Map<SideName, number>();
for (const side of options.sides) {
  const { threads } = options;
  const rates: number[] = [];
  if (threads.length > 1) {
    for (const n of threads) rates.push((await run(side, n)).decode);
  }
  best.set(side, threads[Math.max(0, rates.indexOf(Math.max(...rates)))]);
}

/** What each side showed, round by round. */
const rounds: Map<SideName, Figures>[] = [];
for (let round = 0; round < options.rounds; round++) {
  const row = new Map<SideName, Figures>();
  for (let i = 0; i < options.sides.length; i++) {
    // Who goes first changes, so that none always follows the same other.
    const side = options.sides[(i + round) % options.sides.length];
    row.set(side, await run(side, best.get(side)!));
  }
  rounds.push(row);
}

const cell = (values: number[], digits: number) => {
  const texts = [median(values), Math.min(...values), Math.max(...values)]
    .map((value) => value.toFixed(digits));
  return `${texts[0]} (${texts[1]}–${texts[2]})`;
};

/** A row: what it is called, its unit, and whether more is better. */
const rows: [string, keyof Figures, number, boolean][] = [
  ["engine, KB by gzip", "engineBytes", 1e3, false],
  ["first token with nothing kept, ms", "cold", 1, false],
  ["first token with the model kept, ms", "cached", 1, false],
  [`prompt of ${prompt.ids.length}, tokens/s`, "prompt", 1, true],
  [`decoding of ${decode - 1}, tokens/s`, "decode", 1, true],
  ["memory at the first token, MB", "memoryAtFirst", 1e6, false],
  ["memory after the texts, MB", "memory", 1e6, false],
];
const peers = options.sides.filter((side) => side !== "culm");
const lines = rows.map(([name, key, unit, isRate]) => {
  const of = (side: SideName) =>
    rounds.map((row) => row.get(side)![key] / unit);
  const digits = isRate ? 1 : 0;
  const own = options.sides.includes("culm") ? of("culm") : [];
  const cells = peers.flatMap((side) => {
    const values = of(side);
    const ratios = own.map((value, i) =>
      isRate ? value / values[i] : values[i] / value
    );
    return [cell(values, digits), ...own.length > 0 ? [cell(ratios, 2)] : []];
  });
  return [name, ...own.length > 0 ? [cell(own, digits)] : [], ...cells];
});
const head = [
  options.type,
  ...options.sides.flatMap((side) => {
    const threads = best.get(side)!;
    const name = `${side}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
    return side === "culm" ? [name] : [name, "better by"];
  }),
];
console.log(`CPU: ${cpus()[0].model}, ${cpus().length} cores
Rounds: ${options.rounds}, in turns; median (least–most); ratios are taken round by round

| ${head.join(" | ")} |
|${" --- |".repeat(head.length)}
${lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}`);
