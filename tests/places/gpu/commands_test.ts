/** Commands that are encoded ahead of their step: the same work in the same order, whatever comes. */
import assert from "node:assert/strict";
import { Commands } from "../../../src/places/gpu/device/commands.ts";
import type { Kernel } from "../../../src/places/gpu/kernels/kernel.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { Bench, stepOf } from "./on_device.ts";

/** Appends its number to a list, whose length is the first word: the list says what ran, and in which order. */
const append = {
  name: "append",
  bindings: { list: "read_write u32" },
  body: [`
@compute @workgroup_size(1)
fn main(@builtin(num_workgroups) grid: vec3u, @builtin(workgroup_id) id: vec3u) {
  if (id.y > 0u) { return; }
  list[0] += 1u;
  list[list[0]] = 10u * params.number + grid.y;
}`],
  params: { number: "u32" },
} satisfies Kernel;

/** A step: numbers are kernels (their tens) and grids (their ones), `read` submits and waits. */
type Step = readonly (number | "copy" | "read")[];

/** Runs steps, and gives what ran in each, and how many kernels were encoded while it lasted. */
async function run(steps: readonly Step[]) {
  using bench = await Bench.open(stepOf(1));
  const { pipelines, uniforms, step } = bench.context;
  const list = bench.buffer(new Uint32Array(256));
  const other = bench.buffer(new Uint32Array(256));
  const pipeline = pipelines.get(append);
  const groups = Array.from(
    { length: 10 },
    (_, number) =>
      pipelines.bind(append, {
        step,
        params: uniforms.add(append, { number }),
        list,
      }),
  );
  const commands = new Commands(bench.device);
  let encoded = 0;
  const { gpu } = bench.device;
  const createCommandEncoder = gpu.createCommandEncoder.bind(gpu);
  gpu.createCommandEncoder = (...args) => {
    encoded++;
    return createCommandEncoder(...args);
  };
  const encoders: number[] = [];
  for (const each of steps) {
    commands.beginStep();
    const before = encoded;
    for (const what of each) {
      if (what === "read") {
        commands.submit();
        const during = encoded;
        commands.encodeAhead();
        encoded = during;
      } else if (what === "copy") commands.copy(other, 0, list, 800, 4);
      else {
        const number = Math.floor(what / 10);
        commands.dispatch(pipeline, groups[number], [1, what % 10]);
      }
    }
    encoders.push(encoded - before);
  }
  const words = new Uint32Array(await bench.run(() => {}, list));
  return {
    ran: [...words.subarray(1, 1 + words[0])],
    encoders,
    counts: commands.counts,
  };
}

async function check(
  steps: readonly Step[],
  encoders: readonly number[],
): Promise<void> {
  const result = await run(steps);
  const numbers = steps.flat().filter((what) => typeof what === "number");
  assert.deepEqual(result.ran, numbers);
  assert.deepEqual(result.encoders, encoders);
  assert.equal(result.counts.dispatches, numbers.length);
  const reads = steps.flat().filter((what) => what === "read");
  assert.equal(result.counts.submits, reads.length);
}

const one: Step = [11, 21, 31, "read"];

testWithAdapter("steps that repeat themselves are encoded ahead", async () => {
  await check([one, one, one, one], [1, 1, 0, 0]);
  // A copy takes an encoder of its own, behind what is encoded already.
  const copied: Step = [11, 21, "copy", "read"];
  await check([copied, copied, copied, copied], [1, 1, 1, 1]);
  const hybrid: Step = [11, "read", 21, 31, "read", 41, "read"];
  await check([hybrid, hybrid, hybrid, hybrid], [3, 1, 0, 0]);
});

testWithAdapter(
  "what comes otherwise than it came is encoded then",
  async () => {
    const others: Step[] = [
      [12, 21, 31, "read"],
      [11, 21, 32, "read"],
      [11, 21, "read"],
      [11, 21, 31, 41, "read"],
      [51, "read"],
    ];
    for (const other of others) {
      await check([one, one, one, other, one, one, one], [
        1,
        1,
        0,
        1,
        1,
        1,
        0,
      ]);
    }
    // Behind a copy they are encoded too, but are the same kernels.
    const other: Step = ["copy", 11, 21, 31, "read"];
    await check([one, one, one, other, one], [1, 1, 0, 1, 0]);
  },
);
