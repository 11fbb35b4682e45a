/** How many cores other work leaves. */
import { givenWorkerUrl } from "./worker_url.ts";
import { type StartedWorker, startWorker } from "./worker.ts";

/**
 * Spins, and answers with the share of the time that it had its core: what two
 * readings of the clock lie apart is lost to whoever else runs on it. The code
 * runs slowly at first; what that takes is not counted. One that a page started
 * has a port for its answer.
 */
const spin = `onmessage = ({ ports: [port = self] = [] }) => {
  let last = performance.now(), lost = 0;
  const start = last + 8, end = start + 16;
  while (last < end) {
    const now = performance.now();
    if (now > start && now - last > 0.3) lost += now - Math.max(last, start);
    last = now;
  }
  port.postMessage(1 - lost / (last - start));
}`;

/**
 * Measures on how many of `count` cores work could run undisturbed, in some 40
 * ms: a worker for each spins. At least 1; all where that cannot be measured.
 */
export async function freeCores(count: number): Promise<number> {
  if (givenWorkerUrl() !== undefined) return count; // This is another text.
  const workers: StartedWorker[] = [];
  try {
    const shares = Array.from(
      { length: count },
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = startWorker({
            text: spin,
            onMessage: (share) => resolve(share as number),
            onError: (message) => reject(new Error(message)),
          });
          workers.push(worker);
          worker.post(undefined);
        }),
    );
    // A worker that keeps nearly all of its core counts in full.
    const kept = (await Promise.all(shares)).reduce(
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
