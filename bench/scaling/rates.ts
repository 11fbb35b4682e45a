/** How fast NATS's server takes results on this machine. */
import { Queue, subjects } from "../../cli/queue/queue.ts";
import { NatsServer } from "../../tests/helpers/nats.ts";

/** Results, and bytes of each. */
const count = 100_000, bytes = 1000;
/** That wait for their acknowledgement at the same time. */
const atOnce = 512;

/** Results a second that are stored in a file and acknowledged, asked for by one process beside the server. */
export async function resultRate(): Promise<number> {
  await using server = await NatsServer.start();
  await using queue = await Queue.open({ queue: server.url }, "culm_batch");
  await queue.setUp("model", 30_000);
  const batch = `batch_${"0".repeat(32)}`, data = "x".repeat(bytes);
  const { signal } = new AbortController();
  let next = 0;
  const addSome = async () => {
    while (next < count) {
      await queue.add(subjects.result(batch, next++), data, signal);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: atOnce }, addSome));
  return 1000 * count / (performance.now() - start);
}
