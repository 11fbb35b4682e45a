/**
 * Measures the GPU's kernels by themselves at Bamboo-7B's widths: what one call
 * takes behind others, over matrices that are larger than caches together.
 * Rounds go through all cases in turn, and the device is kept busy before each,
 * since clocks of an idle one are slow. Last comes what a pause costs, as each layer
 * of a hybrid has one, and whether small kernels that fill it help.
 *
 * Run: `deno task bench:gpu [--types=Q4_0,F16] [--tokens=1,128] [--rounds=5] [--small]`
 *
 * `--small` takes narrow matrices, to try it on any adapter.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { median } from "../cli/commands/bench/roofline.ts";
import { isReadType } from "../src/formats/ggml/dequantise.ts";
import { quantise } from "../src/formats/ggml/quantise.ts";
import { randomBlocks } from "../src/formats/ggml/random_blocks.ts";
import { type GgmlType, ggmlTypes } from "../src/formats/ggml/types.ts";
import {
  Buffers,
  uniformBytes,
  Uniforms,
} from "../src/places/gpu/memory/buffers.ts";
import { Commands } from "../src/places/gpu/device/commands.ts";
import { Device } from "../src/places/gpu/device/device.ts";
import { Down } from "../src/places/gpu/run/feed_forward.ts";
import {
  stretchesFor,
  stretchSlots,
} from "../src/places/gpu/kernels/neurons.ts";
import {
  headerBytes,
  putHeader,
  stepWords,
} from "../src/places/gpu/kernels/step_words.ts";
import { DeviceMatrix, matrixShape } from "../src/places/gpu/memory/matrix.ts";
import { RowPacker } from "../src/places/gpu/memory/packing.ts";
import type { KernelContext } from "../src/places/gpu/run/context.ts";
import { Product, type ProductOptions } from "../src/places/gpu/run/product.ts";
import { ReadBack } from "../src/places/gpu/run/read_back.ts";

const { values: options } = parseArgs({
  args: Deno.args,
  options: {
    types: { type: "string", default: "Q4_0,Q8_0,F16,Q4_K,Q6_K" },
    tokens: { type: "string", default: "1,128" },
    rounds: { type: "string", default: "5" },
    small: { type: "boolean", default: false },
  },
});
/** Ends with one line that says why. */
function fail(reason: string): never {
  console.error(reason);
  Deno.exit(1);
}

const types = options.types.split(",") as GgmlType[];
const unknown = types.find((type) => !(type in ggmlTypes));
if (unknown !== undefined) {
  fail(`Cannot measure ${unknown}: there is no such type of weights`);
}
const tokenCounts = options.tokens.split(",").map(Number);
if (!tokenCounts.every((n) => Number.isInteger(n) && n >= 1 && n <= 512)) {
  fail(`Cannot measure --tokens=${options.tokens}: give 1 to 512, with commas`);
}
const rounds = Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1) {
  fail(
    `Cannot measure --rounds=${options.rounds}: give a whole number from 1 on`,
  );
}
const [hidden, neurons] = options.small ? [512, 1024] : [4096, 14336];
/** Bytes of the matrices of a case, at least. */
const enoughBytes = options.small ? 1e6 : 200e6;
/** What a neuron's gate, or its product, is above zero for. */
const gateShare = 0.2, activeShare = 0.1;

const most = Math.max(...tokenCounts);
const device = await Device.open().catch(({ message }) => fail(message));
const buffers = new Buffers(device);
const commands = new Commands(device);

/** A buffer with these numbers in it. */
function bufferOf(data: Float32Array<ArrayBuffer>): GPUBuffer {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST |
    GPUBufferUsage.COPY_SRC;
  const buffer = buffers.make("rows", data.byteLength, usage);
  device.gpu.queue.writeBuffer(buffer, 0, data);
  return buffer;
}

const context: KernelContext = {
  commands,
  buffers,
  pipelines: device.pipelines,
  uniforms: new Uniforms(buffers, 4096 * uniformBytes),
  step: bufferOf(new Float32Array(headerBytes / 4 + 4 * most)),
  counters: bufferOf(new Float32Array(6)),
};
const kind = await device.readsAtOnce ? "synchronous" : "awaited";
const readBack = new ReadBack(buffers, commands, [
  { bytes: context.counters.size, count: 256 },
], kind);
await readBack.prime();

/** ms until the device has done what is encoded. */
async function time(encode: () => void): Promise<number> {
  const start = performance.now();
  encode();
  const { counters } = context;
  await readBack.read([{ buffer: counters, bytes: counters.size }], () => {});
  return performance.now() - start;
}

/** Numbers of which `share` are positive, scattered, and the rest `otherwise`. */
function scattered(length: number, share: number, otherwise: number) {
  return Float32Array.from(
    { length },
    (_, i) => Math.imul(i, 2654435761) >>> 0 < share * 2 ** 32 ? 1 : otherwise,
  );
}

/** Mean size of weights */
const usual = 0.014;
/** Of such as are subnormal halves, or have scales that are. Those that scale the scales of K types are so in weights of usual size. */
const subnormal: Partial<Record<GgmlType, number>> = {
  F16: 3e-6,
  Q4_0: 3e-5,
  Q4_1: 3e-5,
  Q5_0: 6e-5,
  Q5_1: 6e-5,
  Q8_0: 4e-4,
  IQ4_NL: 3e-5,
};

/** Matrices of one type, so many in each buffer: a few rows of weights, again and again. */
function matricesOf(
  type: GgmlType,
  rows: number,
  columns: number,
  { together = 1, size = usual } = {},
): DeviceMatrix[][] {
  const block = 64;
  const bytes = isReadType(type)
    ? randomBlocks(type, block * columns, size, Math.random)
    : quantise(
      type,
      Float32Array.from(
        { length: block * columns },
        (_, i) => Math.SQRT2 * size * Math.sin(i),
      ),
    );
  const runs = [{ start: 0, end: columns }];
  const packer = new RowPacker(type, { length: columns, runs });
  const shape = matrixShape(type, rows, runs);
  const stacks: DeviceMatrix[][] = [];
  for (let total = 0; total < enoughBytes;) {
    const stack = together === 1
      ? [DeviceMatrix.make(buffers, "matrix", shape)]
      : DeviceMatrix.stack(buffers, "matrices", Array(together).fill(shape));
    for (const matrix of stack) {
      for (let first = 0; first < rows; first += block) {
        matrix.write(packer, first, { first: 0, count: block, bytes });
      }
      total += matrix.byteLength;
    }
    stacks.push(stack);
  }
  return stacks;
}

interface Case {
  readonly name: string;
  readonly tokens: number;
  /** One of the calls, which differ in what they read */
  readonly encode: (i: number) => void;
  readonly calls: number;
  /** Bytes of weights that a call reads, and what it multiplies and adds */
  readonly bytes: number;
  readonly flops: number;
  readonly ms: number[];
}

const cases: Case[] = [];
const x = bufferOf(scattered(most * neurons, 0.5, -1));
const gates = bufferOf(scattered(most * neurons, gateShare, -1));
const active = bufferOf(scattered(most * neurons, activeShare, 0));
const out = bufferOf(new Float32Array(most * neurons));
const partials = bufferOf(
  new Float32Array((most + stretchSlots(most)) * hidden),
);

function addProducts(
  name: string,
  stacks: DeviceMatrix[][],
  tokens: number,
  share: number,
  more: Partial<ProductOptions> = {},
): void {
  const [[{ rows, columns, byteLength }, other]] = stacks;
  const products = stacks.map(([matrix, up]) =>
    new Product(context, matrix, {
      x: { buffer: x, stride: columns },
      out: { buffer: out, stride: rows },
      up,
      ...more,
    })
  );
  const count = other ? 2 : 1;
  cases.push({
    name,
    tokens,
    encode: (i) => products[i % products.length].encode(tokens),
    calls: tokens === 1 ? 4 * products.length : 4,
    bytes: count * (tokens === 1 ? share : 1) * byteLength,
    flops: 2 * count * tokens * rows * columns,
    ms: [],
  });
}

function addDown(stacks: DeviceMatrix[][], tokens: number): void {
  const [[{ type, byteLength }]] = stacks;
  const downs = stacks.map(([matrix]) =>
    new Down(
      context,
      matrix,
      { downByNeuron: true },
      { buffer: active, stride: neurons },
      { buffer: out, stride: hidden, partials, stretchesWait: false },
    )
  );
  cases.push({
    name: `${type} rows of down, ${100 * activeShare}% of neurons`,
    tokens,
    encode: (i) => downs[i % downs.length].encode(tokens),
    calls: tokens === 1 ? 4 * downs.length : 4,
    bytes: activeShare * byteLength,
    flops: 2 * activeShare * tokens * neurons * hidden,
    ms: [],
  });
}

const norm = { weight: x, epsilon: 1e-5 };
for (const type of types) {
  const wide = matricesOf(type, neurons, hidden);
  const square = matricesOf(type, hidden, hidden);
  const pairs = matricesOf(type, neurons, hidden, { together: 2 });
  const size = subnormal[type];
  const faint = size && matricesOf(type, neurons, hidden, { size });
  for (const tokens of tokenCounts) {
    addProducts(`${type} gate, normed`, wide, tokens, 1, { norm });
    addProducts(`${type} gate and up, normed`, pairs, tokens, 1, {
      norm,
      epilogue: "swiglu",
    });
    addProducts(`${type} output of attention`, square, tokens, 1);
    if (tokens === 1) {
      const name = `${type} gate, normed, subnormal scales`;
      if (faint) addProducts(name, faint, 1, 1, { norm });
      addProducts(
        `${type} up, ${100 * gateShare}% masked in`,
        wide,
        1,
        gateShare,
        {
          norm,
          mask: { scores: gates },
          gate: gates,
          epilogue: "drelu",
        },
      );
    }
    addDown(wide, tokens);
  }
}

console.log(`${device.name}, ${device.subgroups ? "" : "no "}subgroups`);
const [busy] = cases;
const waits: number[] = [];
const header = new Uint32Array(stepWords.header_words);

/** Gets ready for steps of so many tokens, and keeps the device busy for so many ms. */
async function warmUp(tokens: number, forMs: number): Promise<void> {
  putHeader(header, {
    token_count: tokens,
    wanted_count: tokens,
    stretch_count: stretchesFor(tokens),
    token_words: stepWords.record_angles,
    split_count: 1,
  });
  device.gpu.queue.writeBuffer(context.step, 0, header);
  const end = performance.now() + forMs;
  while (!device.isSoftware && performance.now() < end) {
    await time(() => busy.encode(0));
  }
}

for (let round = 0; round <= rounds; round++) {
  for (const { tokens, encode, calls, ms } of cases) {
    await warmUp(tokens, round === 0 ? 200 : 20);
    const wait = await time(() => {});
    const all = await time(() => {
      for (let i = 0; i < calls; i++) encode(i);
    });
    // The first round compiles.
    if (round > 0) {
      waits.push(wait);
      ms.push((all - wait) / calls);
    }
  }
}
const [{ tokens: few }] = cases;
/** What reads the least, of the same steps */
const filler = cases.filter(({ tokens }) => tokens === few)
  .reduce((least, each) => each.bytes < least.bytes ? each : least);
const pauses: { name: string; forMs: number; every?: number; ms: number[] }[] =
  [
    { name: "behind others", forMs: 0, ms: [] },
    { name: "behind a pause of 3 ms", forMs: 3, ms: [] },
    {
      name: `behind 3 ms with "${filler.name}" every 0.2 ms`,
      forMs: 3,
      every: 0.2,
      ms: [],
    },
  ];
for (let round = 0; round < 8 * rounds; round++) {
  for (const { forMs, every = Infinity, ms } of pauses) {
    await warmUp(few, 20);
    const start = performance.now();
    for (let next = start + every; performance.now() < start + forMs;) {
      if (performance.now() < next) continue;
      next += every;
      filler.encode(0);
      commands.submit();
    }
    ms.push(
      await time(() => {
        for (let i = 0; i < 4; i++) busy.encode(i);
      }),
    );
  }
}
// What the device refused is reported in a later task.
await new Promise((resolve) => setTimeout(resolve));
device.check();
console.log(`a read-back takes ${median(waits).toFixed(3)} ms\n`);
console.log(
  "| kernel | tokens | µs a call | GB/s of weights | TFLOP/s |\n| --- | ---: | ---: | ---: | ---: |",
);
for (const { name, tokens, bytes, flops, ms } of cases) {
  const time = median(ms);
  const cells = [
    name,
    tokens,
    (1e3 * time).toFixed(1),
    (bytes / time / 1e6).toFixed(0),
    (flops / time / 1e9).toFixed(2),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
console.log(
  `\n| four of "${busy.name}", and their results | µs |\n| --- | ---: |`,
);
for (const { name, ms } of pauses) {
  console.log(`| ${name} | ${(1e3 * median(ms)).toFixed(0)} |`);
}
