/** Staging buffers, in number and in time. */
import assert from "node:assert/strict";
import {
  canReadAtOnce,
  ReadBack,
} from "../../../src/places/gpu/run/read_back.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { Bench, stepOf } from "./on_device.ts";

async function readBack(
  bench: Bench,
  kind: "synchronous" | "awaited",
): Promise<ReadBack> {
  const made = new ReadBack(bench.buffers, bench.commands, kind, [
    { bytes: 64, count: 3 },
    { bytes: 1024, count: 2 },
  ]);
  await made.prime();
  return made;
}

const first = (bytes: ArrayBuffer) => new Float32Array(bytes)[0];

for (const kind of ["synchronous", "awaited"] as const) {
  testWithAdapter(
    `many results are read right, ${kind}, of both sizes`,
    async () => {
      if (kind === "synchronous" && !canReadAtOnce()) return;
      using bench = await Bench.open(stepOf(1));
      const reader = await readBack(bench, kind);
      const buffer = bench.buffer(new Float32Array(256));
      const { queue } = bench.device.gpu;
      for (let i = 0; i < 400; i++) {
        queue.writeBuffer(buffer, 0, Float32Array.of(i));
        const bytes = i % 3 === 0 ? 1024 : 16;
        // More of them in a row than there are buffers: the last ones are awaited.
        const result = reader.read([{ buffer, bytes }], first);
        if (kind === "awaited") assert(result instanceof Promise);
        assert.equal(await result, i);
      }
      assert.equal(bench.commands.counts.readBacks, 400);
    },
  );

  testWithAdapter(
    `reading from a device that is gone is an error, ${kind}`,
    async () => {
      using bench = await Bench.open(stepOf(1));
      const reader = await readBack(bench, kind);
      const buffer = bench.buffer(new Float32Array(256));
      bench.device.destroy();
      const read = async () =>
        await reader.read([{ buffer, bytes: 16 }], first);
      await assert.rejects(read(), /^GpuError: The GPU failed \(.+\): \S/);
      await assert.rejects(read(), /^GpuError: The GPU failed \(.+\): \S/);
    },
  );
}

testWithAdapter("regions come one behind the other", async () => {
  using bench = await Bench.open(stepOf(1));
  const reader = await readBack(bench, "awaited");
  const a = bench.buffer(Float32Array.of(1, 2, 3));
  const b = bench.buffer(Float32Array.of(4, 5));
  const regions = [{ buffer: a, bytes: 8 }, { buffer: b, bytes: 8 }];
  const values = await reader.read(
    regions,
    (bytes) => [...new Float32Array(bytes)],
  );
  assert.deepEqual(values, [1, 2, 4, 5]);
});

testWithAdapter(
  "what `take` throws is thrown, and the buffer serves again",
  async () => {
    using bench = await Bench.open(stepOf(1));
    const reader = await readBack(bench, "awaited");
    const buffer = bench.buffer(Float32Array.of(7, 8));
    const regions = [{ buffer, bytes: 8 }];
    for (let i = 0; i < 4; i++) {
      await assert.rejects(
        async () =>
          await reader.read(regions, () => {
            throw new TypeError("own");
          }),
        TypeError,
      );
    }
    assert.equal(await reader.read(regions, first), 7);
  },
);
