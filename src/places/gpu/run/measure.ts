/** How fast a device is, measured on a place's own weights. */
import type { GpuSpeed, MeasuredGpu } from "../../gpu_stats.ts";
import type { Commands } from "../device/commands.ts";
import type { Product } from "./product.ts";
import type { ReadBack, Region } from "./read_back.ts";

export type Measured = Pick<MeasuredGpu, "readBackMs" | "speed">;

/** Runs of a product, at most; a fast device needs many for a time that can be measured. */
const mostRuns = 256;

/** For so many ms a device is kept busy before it is measured: an idle one has slow clocks. */
const warmUpMs = 200;

/** What one product reads, and how long it takes. */
export interface Timed {
  readonly bytes: number;
  readonly ms: number;
}

/** A product shows what starting a kernel takes, where it reads less than this share of the largest. */
const smallShare = 1 / 8;

/** Streaming and starting, from ms = dispatchMs + bytes / stream of two products; all is streaming where both read much. */
export function speedOf(large: Timed, small: Timed): GpuSpeed {
  let dispatchMs = 0;
  if (small.bytes < smallShare * large.bytes) {
    const msPerByte = (large.ms - small.ms) / (large.bytes - small.bytes);
    dispatchMs = Math.max(0, small.ms - Math.max(0, msPerByte) * small.bytes);
  }
  const streaming = Math.max(large.ms - dispatchMs, 0.1 * large.ms);
  return { stream: large.bytes / streaming, dispatchMs };
}

/**
 * Measures a read-back of `region`, and the speed of `products` with one token
 * where there are any. What this does is not counted.
 */
export async function measure(
  commands: Commands,
  readBack: ReadBack,
  region: Region,
  products: readonly Product[],
): Promise<Measured> {
  const before = { ...commands.counts };
  commands.leaveSteps();
  const time = async (encode: () => void): Promise<number> => {
    const start = performance.now();
    encode();
    await readBack.read([region], () => {});
    return performance.now() - start;
  };
  const run = (some: readonly Product[], count: number) =>
    time(() => {
      for (let i = 0; i < count; i++) {
        for (const product of some) product.encode(1);
      }
    });
  if (!commands.device.isSoftware && products.length > 0) {
    const end = performance.now() + warmUpMs;
    while (performance.now() < end) await run(products, 16);
  }
  const times = [];
  for (let i = 0; i < 5; i++) times.push(await time(() => {}));
  const readBackMs = times.sort((a, b) => a - b)[2];

  const timed = async (product: Product): Promise<Timed> => {
    let count = 1, elapsed = await run([product], 1);
    while (elapsed < 4 * readBackMs + 2 && count < mostRuns) {
      count *= 4;
      elapsed = await run([product], count);
    }
    const ms = Math.max(elapsed - readBackMs, 0.1 * elapsed) / count;
    return { bytes: product.bytes(1), ms };
  };
  const [largest, ...others] = products
    .toSorted((a, b) => b.bytes(1) - a.bytes(1));
  let speed: GpuSpeed | undefined;
  if (largest) {
    const large = await timed(largest);
    const smallest = others.pop();
    speed = speedOf(large, smallest ? await timed(smallest) : large);
  }
  Object.assign(commands.counts, before);
  return { readBackMs, speed };
}
