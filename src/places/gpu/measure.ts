/**
 * How fast a device is, measured on a place's own weights.
 *
 * @module
 */
import type { Commands } from "./commands.ts";
import type { Product } from "./product.ts";
import type { ReadBack, Region } from "./read_back.ts";

/** What a planner wants to know of a device. */
export interface Speed {
  /** What a read-back takes, in ms */
  readonly readBackMs: number;
  /** Bytes of weights that it streams in a ms; 0 where it has none */
  readonly stream: number;
}

/** Runs at most this often; a fast device needs many for a time that can be told. */
const mostRuns = 256;

/**
 * Measures a read-back of `region`, and the largest of `products` with one
 * token. What this does is not counted.
 */
export async function measure(
  commands: Commands,
  readBack: ReadBack,
  region: Region,
  products: readonly Product[],
): Promise<Speed> {
  const before = { ...commands.counts };
  const time = async (encode: () => void): Promise<number> => {
    const start = performance.now();
    encode();
    await readBack.read([region], () => {});
    return performance.now() - start;
  };
  const times = [];
  for (let i = 0; i < 5; i++) times.push(await time(() => {}));
  const readBackMs = times.sort((a, b) => a - b)[2];

  const bytes = (product: Product) => product.bytes(1);
  const [largest] = [...products].sort((a, b) => bytes(b) - bytes(a));
  let stream = 0;
  if (largest) {
    const run = (count: number) =>
      time(() => {
        for (let i = 0; i < count; i++) largest.encode(commands, 1);
      });
    let count = 1, elapsed = await run(1);
    while (elapsed < 4 * readBackMs + 2 && count < mostRuns) {
      count *= 4;
      elapsed = await run(count);
    }
    const ms = Math.max(elapsed - readBackMs, 0.1 * elapsed);
    stream = count * bytes(largest) / ms;
  }
  Object.assign(commands.counts, before);
  return { readBackMs, stream };
}
