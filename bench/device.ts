/**
 * Measures what docs/gpu.md has figures of, and writes them there: after each part,
 * so that a machine that is lent for minutes leaves what was done. Parts that find
 * no time are named. `bench/device.sh` starts it.
 *
 * - `--small`: a small file and a few tokens, to try it on any adapter; the document
 *   goes to `--folder`
 * - `--minutes`: how long all of it may take
 * - `--layers`: of the file
 * - `--threads`: of the CPU
 * - `--folder`: where files are made; they stay there
 *
 * @module
 */

import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { exists } from "../cli/output_file.ts";
import { findAdapter, nameOf } from "../src/places/gpu/device/device.ts";
import {
  type ModelFigures,
  putFigures,
  render,
  type Report,
} from "./device/report.ts";
import { numberOf, optionsOf } from "./options.ts";

const { small, folder, threads, layers, minutes } = optionsOf(() => {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      small: { type: "boolean", default: false },
      minutes: { type: "string", default: "8" },
      layers: { type: "string", default: "32" },
      threads: { type: "string", default: `${Math.min(8, cpus().length)}` },
      folder: { type: "string", default: ".cache/device" },
    },
  });
  const time = { type: "number", exclusiveMinimum: 0 } as const;
  return {
    small: values.small,
    folder: values.folder,
    threads: `${numberOf(values.threads, "--threads")}`,
    layers: numberOf(values.layers, "--layers"),
    minutes: numberOf(values.minutes, "--minutes", time),
  };
});
const end = performance.now() + 60e3 * minutes;

/** What differs with the size. */
const size = small
  ? {
    layers: 8,
    synth: ["--shape", "small"],
    budgets: [0.02, 0.04],
    prompts: "2,16",
    cpuPrompts: "16",
    generated: "4",
    runs: "1",
    kernels: ["--small", "--types=Q4_0", "--tokens=1,8", "--rounds=1"],
    tests: ["tests/places/gpu/kernels_test.ts"],
  }
  : {
    layers,
    synth: ["--shape", "bamboo-7b", "--block-count", `${layers}`],
    budgets: [2, 4, 6],
    prompts: "2,4,8,128,512",
    cpuPrompts: "128",
    generated: "64",
    runs: "3",
    kernels: ["--tokens=1,2,8,128", "--rounds=3"],
    tests: ["tests/places/gpu/"],
  };
const document = "docs/gpu.md";
const written = small ? `${folder}/gpu.md` : document;
const file = `${folder}/${small ? "small" : `bamboo-7b-${layers}`}.gguf`;

const adapter = await findAdapter();
if (!adapter) {
  console.error("Cannot measure a GPU: there is none here");
  Deno.exit(1);
}
const report: Report = {
  machine: `${nameOf(adapter.info)}, ${threads} threads of ${
    cpus()[0].model
  }, Deno ${Deno.version.deno}, ${new Date().toISOString().slice(0, 10)}`,
  file: `${
    small ? "a small file" : `Bamboo-7B's widths, ${layers} layers`
  } in Q4_0, 20% of gates positive, 10% of neurons firing`,
  models: [],
  missing: [],
};

/** Runs a command of Deno's for so many seconds at most, and gives what it prints, and what it says beside. */
async function deno(
  seconds: number,
  ...args: string[]
): Promise<{ printed: string; said: string }> {
  const left = (end - performance.now()) / 1e3;
  if (left < Math.min(seconds, 10)) throw new Error("no time was left");
  const signal = AbortSignal.timeout(1e3 * Math.min(seconds, left));
  console.error(`\n> deno ${args.join(" ")}`);
  const { success, code, stdout, stderr } = await new Deno.Command(
    Deno.execPath(),
    { args, signal },
  ).output();
  const [printed, said] = [stdout, stderr]
    .map((bytes) => new TextDecoder().decode(bytes));
  console.error(said);
  if (signal.aborted) throw new Error(`it took more than ${seconds} s`);
  if (!success) throw new Error(`it ended with ${code}`);
  return { printed, said };
}

const culm = (seconds: number, ...args: string[]) =>
  deno(seconds, "run", "-A", "cli/main.ts", ...args);

/** Does a part, and writes the document; says what is missing where it fails. */
async function part(what: string, work: () => Promise<void>): Promise<void> {
  const start = performance.now();
  await work().catch(({ message }) =>
    void report.missing.push(`${what}: ${message}`)
  );
  console.error(`${what}: ${((performance.now() - start) / 1e3).toFixed(0)} s`);
  const text = putFigures(await Deno.readTextFile(document), render(report));
  await Deno.writeTextFile(written, text);
}

/** The columns of `culm bench -o json` that are used. */
interface Row {
  readonly n_prompt: number;
  readonly avg_ts: number;
  readonly gpu_bytes?: number;
  readonly gpu_dispatches?: number;
  readonly gpu_submits?: number;
  readonly gpu_read_backs?: number;
}

/** Measures the file, and adds a row to the table. */
async function model(
  what: string,
  prompts: string,
  ...args: string[]
): Promise<ModelFigures> {
  const { printed } = await culm(
    90,
    ...["bench", "-m", file, "-t", threads, "-o", "json"],
    ...["-p", prompts, "-n", size.generated, "-r", size.runs, ...args],
  );
  const rows: Row[] = JSON.parse(printed);
  const [single] = rows.filter((row) => row.n_prompt === 0);
  const figures = {
    what,
    rates: Object.fromEntries(
      rows.map((row) => [row.n_prompt || 1, row.avg_ts]),
    ),
    gpuBytes: single.gpu_bytes,
    kernels: single.gpu_dispatches,
    submits: single.gpu_submits,
    readBacks: single.gpu_read_backs,
  };
  report.models.push(figures);
  return figures;
}

await Deno.mkdir(folder, { recursive: true });
await part("making the file", async () => {
  const has = await exists(file);
  const shares = ["--gate-positive", "0.2", "--active", "0.1"];
  if (!has) await culm(150, "synth", "-o", file, ...size.synth, ...shares);
});
await part("profiling the file", async () => {
  const text = `${folder}/text.md`;
  const length = small ? 200 : 2000;
  const guide = await Deno.readTextFile("docs/architecture.md");
  await Deno.writeTextFile(text, guide.slice(0, length));
  await culm(60, "profile", "-m", file, "-f", text, "-t", threads, "--force");
});

const whole = ["--gpu", "require", "--disable-gpu-index"];
let wholeBytes = 0;
await part("all on the GPU", async () => {
  const { gpuBytes } = await model("all on the GPU", size.prompts, ...whole);
  wholeBytes = gpuBytes ?? 0;
});
await part("a greedy text", async () => {
  const { said } = await culm(
    60,
    ...["generate", "-m", file, "-p", "Once", "--temp", "0", "--ignore-eos"],
    ...["-n", `${4 * Number(size.generated)}`, "-t", threads, ...whole],
  );
  const [, rate] = /^ +eval time =.* ([\d.]+) tokens per second/m.exec(said)!;
  report.models.push({
    what: "all on the GPU, a greedy text",
    rates: { 1: Number(rate) },
  });
});
await part("the CPU alone", async () => {
  await model("the CPU alone", size.cpuPrompts, "--gpu", "off");
});
for (const budget of size.budgets) {
  await part(`both, ${budget} GiB`, async () => {
    const limit = ["--vram-budget", `${budget}`];
    await model(`both, as planned, ${budget} GiB`, "0", ...whole, ...limit);
  });
  await part(`whole layers, ${budget} GiB`, async () => {
    if (wholeBytes === 0) throw new Error("the whole model was not measured");
    // Each a like share of what all of the model takes.
    const layers = Math.floor(size.layers * budget * 2 ** 30 / wholeBytes);
    const limit = ["--vram-budget", `${budget}`, "-ngl", `${layers}`];
    const what = `both, ${layers} whole layers, ${budget} GiB`;
    await model(what, "0", ...whole, ...limit);
  });
}
await part("all on the GPU, dense", async () => {
  const dense = ["--sparsity", "dense"];
  await model("all on the GPU, dense", "0", ...whole, ...dense);
});
await part("kernels by themselves", async () => {
  const { printed } = await deno(
    100,
    ...["run", "--allow-env=XDG_RUNTIME_DIR", "bench/gpu.ts", ...size.kernels],
  );
  report.kernels = printed.slice(printed.indexOf("| kernel")).trim();
});
await part("the GPU's tests", async () => {
  await deno(120, "test", "-A", "--parallel", ...size.tests);
  report.tests = `all passed (${size.tests})`;
});
await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", written] })
  .output();
console.log(render(report));
