/**
 * culm beside native llama.cpp in one run: SmolLM2-135M-Instruct Q4_1, the same
 * ids, in turns. Each side lives in a process of its own that waits while the
 * other works. Tokenising and sampling are left out.
 *
 * Run: `deno task bench:peer [--threads 2] [--peer-threads 2] [--rounds 7]`
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import golden from "../tests/goldens/smollm2.json" with { type: "json" };

const PEER = "node-llama-cpp@3.22.1";
const PROMPT = 128;
const DECODE = 64;
const CONTEXT = 512;
const modelPath = `.cache/models/${golden.model.file}`;
const peerFolder = ".cache/peer";

interface Timing {
  promptMs: number;
  decodeMs: number;
}

/** A long-lived process that answers one line of JSON for each it is given. */
class Side {
  #process: ChildProcess;
  #lines: AsyncIterator<string>;

  constructor([command, ...args]: string[]) {
    this.#process = spawn(command, args, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.#process.stdout! })
      [Symbol.asyncIterator]();
  }

  /** The next line that the side prints. */
  async receive<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("A side of the benchmark ended early");
    return JSON.parse(value);
  }

  /** One timed run. */
  async measure(prompt: number[], decode: number[]): Promise<Timing> {
    this.#process.stdin!.write(JSON.stringify({ prompt, decode }) + "\n");
    return await this.receive<Timing>();
  }

  /** Lets the process end. */
  async close(): Promise<void> {
    this.#process.stdin!.end();
    await once(this.#process, "exit");
  }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Installs the peer in `.cache/peer` once; it is no dependency of culm. */
async function installPeer(): Promise<void> {
  await Deno.mkdir(peerFolder, { recursive: true });
  const installed = `${peerFolder}/node_modules/node-llama-cpp/package.json`;
  const present = await Deno.stat(installed).then(() => true, () => false);
  if (present) return;
  console.error(`Installing ${PEER} into ${peerFolder} …`);
  const { success } = await new Deno.Command("npm", {
    args: ["install", "--prefix", peerFolder, "--no-save", PEER],
    stdout: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`npm could not install ${PEER}`);
}

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    threads: { type: "string", default: "2" },
    "peer-threads": { type: "string" },
    rounds: { type: "string", default: "7" },
  },
});
const rounds = Number(flags.rounds);
const peerThreads = flags["peer-threads"] ?? flags.threads;

if (!await Deno.stat(modelPath).then(() => true, () => false)) {
  console.error(`${modelPath} is not here: run \`deno task fetch:smollm2\``);
  Deno.exit(1);
}
await installPeer();

const peerModule = new URL(
  `../${peerFolder}/node_modules/node-llama-cpp/dist/index.js`,
  import.meta.url,
)
  .href;
const script = (name: string) =>
  new URL(`./peer/${name}`, import.meta.url).pathname;
const commands = {
  culm: [Deno.execPath(), "run", "--allow-read", script("culm.ts")]
    .concat(modelPath, flags.threads, String(CONTEXT)),
  peer: ["node", script("prebuilt.mjs"), peerModule]
    .concat(modelPath, peerThreads, String(CONTEXT)),
};

const culm = new Side(commands.culm);
const peer = new Side(commands.peer);
const names = [
  (await culm.receive<{ name: string }>()).name,
  (await peer.receive<{ name: string }>()).name,
];

const prompt = golden.text.ids.slice(0, PROMPT);
const decode = golden.text.ids.slice(PROMPT, PROMPT + DECODE);
const timings: { culm: Timing; peer: Timing }[] = [];
// The first round warms both up and is not counted.
for (let round = 0; round <= rounds; round++) {
  const pair = {} as { culm: Timing; peer: Timing };
  // Who goes first changes, so that neither always follows the other.
  for (const side of round % 2 === 0 ? ["culm", "peer"] : ["peer", "culm"]) {
    if (side === "culm") pair.culm = await culm.measure(prompt, decode);
    else pair.peer = await peer.measure(prompt, decode);
  }
  if (round > 0) timings.push(pair);
}
await culm.close();
await peer.close();

function row(name: string, tokens: number, field: keyof Timing): string {
  const rate = (timing: Timing) => tokens * 1000 / timing[field];
  const cell = (values: number[], digits: number) =>
    `${median(values).toFixed(digits)} (${
      Math.min(...values).toFixed(digits)
    }` +
    `–${Math.max(...values).toFixed(digits)})`;
  const cells = [
    cell(timings.map((t) => rate(t.culm)), 1),
    cell(timings.map((t) => rate(t.peer)), 1),
    cell(timings.map((t) => rate(t.culm) / rate(t.peer)), 2),
  ];
  return `| ${name} | ${cells.join(" | ")} |`;
}

console.log(`Model: ${golden.model.file}, ${golden.model.bytes} bytes
CPU: ${cpus()[0].model}, ${cpus().length} cores
Sides: ${names.join("; ")}
Rounds: ${rounds}, in turns; median (least–most); the ratio is taken round by round

| scenario, tokens/s | culm | llama.cpp | ratio |
| --- | --- | --- | --- |
${row(`pp${PROMPT}`, PROMPT, "promptMs")}
${row(`tg${DECODE}`, DECODE, "decodeMs")}

Command: deno task bench:peer --threads ${flags.threads} --peer-threads ${peerThreads} --rounds ${rounds}`);
