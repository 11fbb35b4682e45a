import { createServer } from "../../server.ts";
import type { CommandSpec } from "../command.ts";
import { runGpuOptions } from "../gpu_options.ts";
import { Interrupt, stopSignals } from "../interrupt.ts";
import { loadModel } from "../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../option.ts";
import { modelOptions, runOptions } from "../options.ts";
import { Queue, queueOptions, workerName } from "../queue/queue.ts";
import { LabRequests } from "../queue/lab_requests.ts";
import { workKeyOf } from "../queue/work_key.ts";
import { QueueWorker } from "../queue/worker.ts";
import { note } from "../terminal.ts";
import { concurrencyOf, parallelFlag } from "./batch/output.ts";

const options = {
  Queue: { ...queueOptions, parallel: parallelFlag },
  Model: modelOptions,
  Running: runOptions,
  GPU: runGpuOptions,
} as const satisfies FlagGroups;

type WorkerFlags = FlagsOfGroups<typeof options>;

/** Answers requests of a queue. */
export const worker: CommandSpec = {
  name: "worker",
  summary:
    "answer batches of a queue that are for a model, until it is stopped",
  options,
  examples: ["culm worker --queue nats://queue:4222 -m model.gguf"],
  run,
};

async function run(flags: WorkerFlags): Promise<number> {
  using interrupt = new Interrupt(stopSignals);
  const { signal } = interrupt;
  const key = await workKeyOf(flags, signal);
  await using queue = await Queue.open(flags, workerName);
  await using model = await loadModel(flags, interrupt);
  const { parallel } = flags;
  // There is nobody whose waiting has to end.
  await using server = createServer(model, { parallel, timeLimit: 0 });
  const lab = new LabRequests(model);
  const worker = new QueueWorker(queue, {
    key,
    fetch: (request) =>
      lab.takes(request) ? lab.answer(request) : server.fetch(request),
    concurrency: concurrencyOf(parallel),
    signal,
  });
  note(`working for model ${key}`);
  try {
    await worker.run();
  } finally {
    note(`stopped after ${worker.answered} requests`);
  }
  return 0;
}
