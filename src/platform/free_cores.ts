/** How many cores other work leaves. */
import { givenWorkerUrl } from "./worker_url.ts";

/**
 * Spins, and answers with the share of the time that it had its core: what two
 * readings of the clock lie apart is lost to whoever else runs on it. The code
 * runs slowly at first; what that takes is not counted.
 */
const spin = `onmessage = () => {
  let last = performance.now(), lost = 0;
  const start = last + 8, end = start + 16;
  while (last < end) {
    const now = performance.now();
    if (now > start && now - last > 0.3) lost += now - Math.max(last, start);
    last = now;
  }
  postMessage(1 - lost / (last - start));
}`;

let url: string | undefined;

/**
 * Measures on how many of `count` cores work could run undisturbed, in some 40
 * ms: a worker for each spins. At least 1; all where that cannot be measured.
 */
export async function freeCores(count: number): Promise<number> {
  if (givenWorkerUrl() !== undefined) return count; // This is another text.
  url ??= URL.createObjectURL(new Blob([spin], { type: "text/javascript" }));
  const workers: Worker[] = [];
  try {
    while (workers.length < count) {
      workers.push(new Worker(url, { type: "module" }));
    }
    const shares = await Promise.all(workers.map(shareOf));
    // A worker that keeps nearly all of its core counts in full.
    const kept = shares.reduce(
      (sum, share) => sum + (share > 0.9 ? 1 : share),
      0,
    );
    return Math.max(1, Math.floor(kept + 0.25));
  } catch {
    return count;
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

function shareOf(worker: Worker): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  worker.onmessage = ({ data }: MessageEvent<number>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(undefined);
  return promise;
}
