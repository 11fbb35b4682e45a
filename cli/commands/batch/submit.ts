import { readBatch } from "../../../server.ts";
import type { CommandSpec } from "../../command.ts";
import { readText } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import { modelOptions, runOptions } from "../../options.ts";
import { batchIdOf } from "../../queue/batch_id.ts";
import { Queue, queueOptions, submitterName } from "../../queue/queue.ts";
import { mostLines } from "../../queue/ranges.ts";
import { submitBatch } from "../../queue/submit.ts";
import { workKeyOf } from "../../queue/work_key.ts";
import { note, write } from "../../terminal.ts";
import { createdOf } from "./output.ts";

const { contextSize, sparsity, cacheTypeK, cacheTypeV, activation } =
  runOptions;

const options = {
  Queue: queueOptions,
  Batch: {
    rangeLines: {
      type: "integer",
      minimum: 1,
      maximum: mostLines,
      default: 32,
      flag: "--range <n>",
      description: "most requests that a worker takes at once",
    },
    ackWait: {
      type: "number",
      minimum: 1,
      maximum: 3600,
      default: 30,
      flag: "--ack-wait <s>",
      description:
        "seconds without a sign of life after which the requests of a worker are given to another; the first batch of a model says",
    },
  },
  Model: modelOptions,
  "Running, as the workers": {
    contextSize,
    sparsity,
    cacheTypeK,
    cacheTypeV,
    activation,
  },
} as const satisfies FlagGroups;

type SubmitFlags = FlagsOfGroups<typeof options>;

/** Puts a file of requests into a queue. */
export const submit: CommandSpec = {
  name: "batch submit",
  argument: "<requests.jsonl>",
  summary: "put a file of requests into a queue, for workers on any machine",
  options,
  examples: [
    "culm batch submit requests.jsonl --queue nats://queue:4222 -m model.gguf",
  ],
  run,
};

async function run(flags: SubmitFlags, path: string): Promise<number> {
  const text = await readText(path);
  const lines = readBatch(text);
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const key = await workKeyOf(flags, signal);
  const created = await createdOf(path);
  const batch = await batchIdOf(key, created, text);
  await using queue = await Queue.open(flags, submitterName);
  await queue.setUp(key, 1000 * flags.ackWait);
  const ranges = await submitBatch(queue, { batch, key, created, lines }, {
    lines: flags.rangeLines,
    signal,
  });
  note(
    `${lines.length} requests in ${ranges} ranges, for workers of model ${key}`,
  );
  await write(`${batch}\n`);
  return 0;
}
