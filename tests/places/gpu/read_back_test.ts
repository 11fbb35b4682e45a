/** Staging buffers, in number and in time. */
import assert from "node:assert/strict";
import { ReadBack } from "../../../src/places/gpu/run/read_back.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { Bench, stepOf } from "./on_device.ts";

async function readBack(
  bench: Bench,
  kind: "synchronous" | "awaited",
): Promise<ReadBack> {
  const made = new ReadBack(bench.buffers, bench.commands, [
    { bytes: 64, count: 3 },
    { bytes: 1024, count: 2 },
  ], kind);
  await made.prime();
  assert.equal(made.kind, kind);
  return made;
}

const first = (bytes: ArrayBuffer) => new Float32Array(bytes)[0];

const kinds = ["synchronous", "awaited"] as const;

testWithAdapter("many results are read right, of both sizes", async (t) => {
  for (const kind of kinds) {
    using bench = await Bench.open(stepOf(1));
    const isAble = kind === "awaited" || await bench.device.readsAtOnce;
    await t.step({
      name: kind,
      ignore: !isAble,
      async fn() {
        const reader = await readBack(bench, kind);
        const buffer = bench.buffer(new Float32Array(256));
        const { queue } = bench.device.gpu;
        // What is awaited comes when the runtime next asks the device, after 10 ms.
        const count = kind === "awaited" ? 100 : 400;
        for (let i = 0; i < count; i++) {
          queue.writeBuffer(buffer, 0, Float32Array.of(i));
          const bytes = i % 3 === 0 ? 1024 : 16;
          // More of them in a row than there are buffers: the last ones are awaited.
          const result = reader.read([{ buffer, bytes }], first);
          if (kind === "awaited") assert(result instanceof Promise);
          assert.equal(await result, i);
        }
        assert.equal(bench.commands.counts.readBacks, count);
      },
      sanitizeResources: false,
      sanitizeOps: false,
    });
  }
});

for (const kind of kinds) {
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

testWithAdapter(
  "what cannot be read at once after all is read later, and right",
  async () => {
    using bench = await Bench.open(stepOf(1));
    const { gpu } = bench.device;
    const make = gpu.createBuffer.bind(gpu);
    let refused = 0;
    gpu.createBuffer = (descriptor) => {
      const buffer = make(descriptor);
      const map = buffer.mapAsync.bind(buffer);
      const range = buffer.getMappedRange.bind(buffer);
      let isPending = false;
      buffer.mapAsync = (...args) => {
        isPending = true;
        return map(...args).finally(() => isPending = false);
      };
      buffer.getMappedRange = (...args) => {
        if (!isPending) return range(...args);
        refused++;
        throw new DOMException("not mapped", "OperationError");
      };
      return buffer;
    };
    const reader = await readBack(bench, "synchronous");
    const buffer = bench.buffer(new Float32Array(256));
    for (let i = 0; i < 20; i++) {
      gpu.queue.writeBuffer(buffer, 0, Float32Array.of(i));
      assert.equal(await reader.read([{ buffer, bytes: 16 }], first), i);
    }
    assert.equal(refused, 20);
    bench.device.check();
  },
);
