/** The trial that decides how results are read, on devices that answer it in every way. */
import assert from "node:assert/strict";
// @ts-types="../../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { Device } from "../../../src/places/gpu/device/device.ts";
import { mapsAtOnce } from "../../../src/places/gpu/device/mapping_trial.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";

/** Changes every buffer that a device makes from here on. */
function changeBuffers(gpu: GPUDevice, change: (buffer: GPUBuffer) => void) {
  const make = gpu.createBuffer.bind(gpu);
  const made: GPUBuffer[] = [];
  gpu.createBuffer = (descriptor) => {
    const buffer = make(descriptor);
    change(buffer);
    made.push(buffer);
    return buffer;
  };
  return made;
}

/** Whether a device whose buffers are changed passes. */
async function passes(
  change: (buffer: GPUBuffer) => void,
  patience?: number,
): Promise<boolean> {
  const device = await Device.open();
  const made = changeBuffers(device.gpu, change);
  const passed = await mapsAtOnce(device.gpu, patience);
  // The device is as good as before, and so is the event loop.
  await delay(50);
  device.check();
  assert(made.length > 1);
  device.destroy();
  return passed;
}

/** Counts how often a buffer was mapped. */
function onMapping(
  buffer: GPUBuffer,
  answer: (count: number, mapped: Promise<void>) => Promise<void>,
) {
  const map = buffer.mapAsync.bind(buffer);
  let count = 0;
  buffer.mapAsync = (mode) => answer(++count, map(mode));
}

testWithAdapter(
  "this runtime maps at once, which a device finds by itself",
  async () => {
    const device = await Device.open();
    assert.equal(await device.readsAtOnce, true);
    device.destroy();
    assert.equal(await passes(() => {}), true);
  },
);

testWithAdapter(
  "a runtime that refuses what is not mapped yet fails the trial",
  async () => {
    const refused = await passes((buffer) => {
      let isPending = false;
      onMapping(buffer, (_, mapped) => {
        isPending = true;
        return mapped.finally(() => isPending = false);
      });
      const range = buffer.getMappedRange.bind(buffer);
      buffer.getMappedRange = (...args) => {
        if (isPending) throw new DOMException("not mapped", "OperationError");
        return range(...args);
      };
    });
    assert.equal(refused, false);
  },
);

testWithAdapter(
  "a runtime that gives old or wrong bytes fails the trial",
  async () => {
    const stale = await passes((buffer) => {
      buffer.getMappedRange = () => new ArrayBuffer(buffer.size);
    });
    assert.equal(stale, false);
    let calls = 0;
    const once = await passes((buffer) => {
      const range = buffer.getMappedRange.bind(buffer);
      buffer.getMappedRange = (...args) => {
        const bytes = range(...args);
        if (++calls === 7) new Uint8Array(bytes)[255] ^= 1;
        return bytes;
      };
    });
    assert.equal(once, false);
  },
);

testWithAdapter("a mapping that fails, fails the trial", async () => {
  for (const failing of [1, 2]) {
    const failed = await passes((buffer) => {
      onMapping(buffer, async (count, mapped) => {
        await mapped;
        if (count === failing) throw new DOMException("lost", "AbortError");
      });
    });
    assert.equal(failed, false);
  }
});

testWithAdapter(
  "a mapping that never settles ends the trial in time",
  async () => {
    for (const hanging of [1, 2]) {
      const start = performance.now();
      const hung = await passes((buffer) => {
        onMapping(
          buffer,
          (count, mapped) => count === hanging ? new Promise(() => {}) : mapped,
        );
      }, 200);
      assert.equal(hung, false);
      assert(performance.now() - start < 5000);
    }
  },
);

testWithAdapter("a device that is gone fails the trial", async () => {
  const { gpu } = await Device.open();
  gpu.destroy();
  assert.equal(await mapsAtOnce(gpu), false);
});

testWithAdapter("a device that makes no buffers fails the trial", async () => {
  const { gpu } = await Device.open();
  gpu.createBuffer = () => {
    throw new TypeError("no");
  };
  assert.equal(await mapsAtOnce(gpu), false);
  gpu.destroy();
});
