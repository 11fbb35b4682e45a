/**
 * A worker whose process ends where a prompt says `poison`, and which fails
 * where it says `fails`: `deno run … URL KEY`.
 */
import { Queue } from "../../cli/queue/queue.ts";
import { QueueWorker } from "../../cli/queue/worker.ts";

const [queueUrl, key] = Deno.args;
await using queue = await Queue.open({ queue: queueUrl }, "test");
const worker = new QueueWorker(queue, {
  key,
  concurrency: 2,
  signal: AbortSignal.timeout(60_000),
  fetch: async (request) => {
    const { prompt } = await request.json();
    if (prompt.includes("poison")) Deno.exit(1);
    return prompt.includes("fails")
      ? Response.json({ error: { message: "it fails" } }, { status: 500 })
      : Response.json({ text: `so ${prompt}` });
  },
});
await worker.run();
