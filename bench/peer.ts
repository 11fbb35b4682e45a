/**
 * culm beside native llama.cpp in one run, on the same ids, in turns. Each side
 * lives in a process of its own that waits while the others work. Tokenising
 * and sampling are left out.
 *
 * Of a dense model, `--model`, which is SmolLM2-135M-Instruct in Q4_1 where it is
 * left out; `--random-ids` where its vocabulary is another one's, `--peer-model` where
 * llama.cpp takes another form of it, `--reload` where memory has no room for all
 * sides at once. With `--models`, Bamboo-7B's size: the folder is to hold
 * `bamboo-7b-39-15.gguf` and `bamboo-7b-20-10.gguf`, their profiles, and
 * `bamboo-7b-dense.gguf` (docs/benchmarks.md has the commands).
 *
 * Run: `deno task bench:peer [--threads 2] [--peer-threads 2] [--rounds 7]
 *       [--model FILE] [--peer-model FILE] [--random-ids] [--reload] [--models FOLDER] [--only TEXT] [--python python3]`
 *
 * @module
 */

import { cpus } from "node:os";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { exists } from "../cli/output_file.ts";
import { median, type Roofline } from "../cli/commands/bench/roofline.ts";
import golden from "../tests/goldens/smollm2.json" with { type: "json" };
import type { CulmTiming } from "./peer/culm.ts";
import { nativePeer, prebuiltPeer } from "./peer/peers.ts";
import type { Timing, Work } from "./peer/timing.ts";
import { Side } from "./side.ts";

const contextSize = 512;

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    threads: { type: "string", default: "2" },
    "peer-threads": { type: "string" },
    rounds: { type: "string", default: "7" },
    model: { type: "string" },
    models: { type: "string" },
    "peer-model": { type: "string" },
    reload: { type: "boolean", default: false },
    "random-ids": { type: "boolean", default: false },
    only: { type: "string", default: "" },
    python: { type: "string", default: "python3" },
  },
});
const { threads, models: folder } = flags;
const peerThreads = flags["peer-threads"] ?? threads;
const rounds = Number(flags.rounds);

/** One way of running culm. */
interface Scenario {
  name: string;
  model: string;
  sparsity: string;
  profile?: string;
  hotShare?: string;
}

/** Bamboo-7B's size, in the files that `culm synth` and `culm profile` make. */
function bambooScenarios(folder: string): Scenario[] {
  const file = (name: string) => `${folder}/bamboo-7b-${name}.gguf`;
  const sparse = (shares: string, name: string, sparsity: string) => ({
    name,
    model: file(shares),
    sparsity,
    profile: `${file(shares)}.profile`,
  });
  const exact = sparse("39-15", "exact, 39% and 15%", "exact");
  return [
    { name: "dense", model: file("dense"), sparsity: "dense" },
    exact,
    {
      ...exact,
      name: "exact, 39% and 15%, unordered, every row picked",
      profile: "",
      hotShare: "0",
    },
    sparse("20-10", "exact, 20% and 10%", "exact"),
    sparse("39-15", "predictor", "predictor"),
  ];
}

const model = flags.model ?? `.cache/models/${golden.model.file}`;
const peerModel = flags["peer-model"] ??
  (folder ? `${folder}/bamboo-7b-dense.gguf` : model);
const scenarios =
  (folder
    ? bambooScenarios(folder)
    : [{ name: basename(model, ".gguf"), model, sparsity: "exact" }])
    .filter(({ name }) => name.includes(flags.only));

/** The same ids for all: natural text, or of a vocabulary without any. */
const ids = folder || flags["random-ids"]
  ? Array.from({ length: 160 }, (_, i) => 300 + i * 7919 % 31000)
  : golden.text.ids.slice(0, 192);
const sequences = 8;
const work: Work = {
  prompt: ids.slice(0, 128),
  decode: ids.slice(128),
  batch: Array.from(
    { length: 16 },
    (_, step) => ids.slice(step * sequences, (step + 1) * sequences),
  ),
};

for (const { model } of scenarios) {
  if (!await exists(model)) {
    console.error(
      folder
        ? `${model} is not here: docs/benchmarks.md says how to make it`
        : `${model} is not here: run \`deno task fetch:smollm2\``,
    );
    Deno.exit(1);
  }
}

function culmCommand(scenario: Scenario): string[] {
  const script = `${import.meta.dirname}/peer/culm.ts`;
  const { model, sparsity, profile = "", hotShare = "" } = scenario;
  return [Deno.execPath(), "run", "--allow-read", script, model, threads]
    .concat(String(contextSize), sparsity, profile, hotShare);
}

/** What is asked by turns. */
interface Asked {
  readonly name: string;
  ask(work: Work): Promise<Timing>;
  close(): Promise<void>;
}

/** A side that is loaded for each turn, and warmed up before what counts. */
class ReloadedSide implements Asked {
  name = "";

  constructor(readonly command: string[]) {}

  async ask(work: Work): Promise<Timing> {
    const side = await Side.start(this.command);
    this.name = side.name;
    await side.ask(work);
    const timing = await side.ask<Timing>(work);
    await side.close();
    return timing;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

async function start(command: string[]): Promise<Asked> {
  return flags.reload ? new ReloadedSide(command) : await Side.start(command);
}

/** The timings of each side, round by round; the first round warms up and is not counted. */
async function compare(sides: Asked[]): Promise<Timing[][]> {
  const timings: Timing[][] = [];
  for (let round = flags.reload ? 1 : 0; round <= rounds; round++) {
    const row: Timing[] = [];
    // Who goes first changes, so that none always follows the same other.
    for (let i = 0; i < sides.length; i++) {
      const side = (i + round) % sides.length;
      row[side] = await sides[side].ask(work);
    }
    if (round > 0) timings.push(row);
    if (Deno.stderr.isTerminal()) console.error(`round ${round} of ${rounds}`);
  }
  return timings;
}

const peers = [
  // It decodes no batch of several sequences, and is no faster.
  ...flags["peer-model"] ? [] : [await prebuiltPeer()],
  ...[await nativePeer(flags.python)].filter((peer) => peer !== undefined),
];
const peerSides: Asked[] = [];
for (const peer of peers) {
  peerSides.push(
    await start(peer.command(peerModel, peerThreads, contextSize)),
  );
}

const cell = (values: number[], digits: number) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}` +
  `–${Math.max(...values).toFixed(digits)})`;

/** The cells of a line: what each side reached, and the ratio in each round. */
function cells(
  timings: Timing[][],
  rate: (timing: Timing) => number | undefined,
): string[] {
  return [
    cell(timings.map(([culm]) => rate(culm)!), 1),
    ...peerSides.flatMap((_, i) => {
      const theirs = timings.flatMap((row) => rate(row[i + 1]) ?? []);
      if (theirs.length === 0) return ["", ""];
      const ratios = theirs.map((their, round) =>
        rate(timings[round][0])! / their
      );
      return [cell(theirs, 1), cell(ratios, 2)];
    }),
  ];
}

const promptRate = ({ promptMs }: Timing) =>
  work.prompt.length * 1000 / promptMs;
const decodeRate = ({ decodeMs }: Timing) =>
  work.decode.length * 1000 / decodeMs;
const batchRate = ({ batchMs }: Timing) =>
  batchMs && work.batch.flat().length * 1000 / batchMs;
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);

const results: { name: string; timings: Timing[][] }[] = [];
let culmName = "";
for (const scenario of scenarios) {
  const culm = await start(culmCommand(scenario));
  const timings = await compare([culm, ...peerSides]);
  await culm.close();
  culmName = culm.name;
  results.push({ name: scenario.name, timings });
}
for (const side of peerSides) await side.close();

const roofline = ([culm]: Timing[]) => (culm as CulmTiming).roofline;
const lines = results.flatMap(({ name, timings }) => {
  const { streamed, picked } = roofline(timings[0]);
  const of = (name: keyof Roofline) => timings.map((t) => roofline(t)[name]);
  const gigabytes = (name: keyof Roofline) =>
    of(name).map((rate) => rate / 1e9);
  return [
    [`${name}, prompt of ${work.prompt.length}`, ...cells(timings, promptRate)],
    [
      `${name}, ${sequences} sequences, ${work.batch.length} of each`,
      ...cells(timings, batchRate),
    ],
    [
      `${name}, decoding of ${work.decode.length}`,
      ...cells(timings, decodeRate),
      `${megabytes(streamed)} + ${megabytes(picked)}`,
      `${cell(gigabytes("streamRate"), 1)}, ${cell(gigabytes("pickRate"), 1)}`,
      cell(of("reached"), 2),
    ],
  ];
});

const columns = peers.flatMap(({ name }) => [`llama.cpp, ${name}`, "ratio"]);
const head = [
  "tokens/s",
  "culm",
  ...columns,
  "MB streamed + picked",
  "GB/s streamed, picked",
  "of limit",
];
console.log(`CPU: ${cpus()[0].model}, ${cpus().length} cores
Sides: ${[culmName, ...peerSides.map(({ name }) => name)].join("; ")}
llama.cpp runs ${peerModel.split("/").at(-1)}
Rounds: ${rounds}, in turns; median (least–most); ratios are taken round by round

| ${head.join(" | ")} |
|${" --- |".repeat(head.length)}
${lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}`);
