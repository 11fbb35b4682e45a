/**
 * Whether what is mapped can be read before `mapAsync`'s promise settles.
 *
 * Deno blocks in `mapAsync` until the device is done, and settles the promise
 * some 10 ms later (2.9.6). WebGPU promises nothing of that kind, so it is tried
 * on each device.
 */

/** Buffers read in a trial, and their words. */
const rounds = 8, words = 64;

/** A promise that has not settled after so many ms counts as one that never will. */
const patienceMs = 5000;

/**
 * Tries it: data that differs in each round must come back right at once, and
 * all promises settle. Resolves in any case, and leaves nothing on the device.
 */
export async function mapsAtOnce(
  gpu: GPUDevice,
  patience = patienceMs,
): Promise<boolean> {
  const { COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const made: GPUBuffer[] = [];
  const make = (usage: GPUBufferUsageFlags) => {
    const label = "mapping trial";
    made.push(gpu.createBuffer({ label, size: 4 * words, usage }));
    return made[made.length - 1];
  };
  let isLate = false;
  const attempt = async () => {
    const source = make(COPY_SRC | COPY_DST);
    const stagings = Array.from(
      { length: rounds },
      () => make(COPY_DST | MAP_READ),
    );
    // Where a buffer was never mapped before, reading it at once ends the process.
    await Promise.all(stagings.map(mapped));
    if (isLate) return false;
    for (const staging of stagings) staging.unmap();
    let isRight = true;
    const mappings = stagings.map((staging, round) => {
      const written = Uint32Array.from(
        { length: words },
        (_, i) => Math.imul(words * round + i + 1, 2654435761),
      );
      gpu.queue.writeBuffer(source, 0, written);
      const encoder = gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(source, 0, staging, 0, 4 * words);
      gpu.queue.submit([encoder.finish()]);
      const mapping = mapped(staging);
      const read = new Uint32Array(staging.getMappedRange());
      isRight &&= written.every((word, i) => word === read[i]);
      staging.unmap();
      return mapping;
    });
    await Promise.all(mappings);
    return isRight;
  };
  const { promise: late, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), patience);
  const passed = await Promise.race([attempt().catch(() => false), late]);
  isLate = true;
  clearTimeout(timer);
  for (const buffer of made) buffer.destroy();
  return passed;
}

/** Maps a buffer; a failure that nobody awaits is none. */
function mapped(buffer: GPUBuffer): Promise<void> {
  const mapping = buffer.mapAsync(GPUMapMode.READ);
  mapping.catch(() => {});
  return mapping;
}
