import { readBatch } from "../../../server.ts";
import type { CommandSpec } from "../../command.ts";
import { readText } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import { modelOptions, runOptions } from "../../options.ts";
import { batchIdOf } from "../../queue/batch_id.ts";
import {
  type Manifest,
  Queue,
  queueOptions,
  subjects,
} from "../../queue/queue.ts";
import {
  mostLines,
  type Range,
  rangesOf,
  writeRange,
} from "../../queue/ranges.ts";
import { idsOf } from "../../queue/results.ts";
import { workKeyOf } from "../../queue/work_key.ts";
import { note, ProgressBar, write } from "../../terminal.ts";
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

/** Ranges that are on their way to the queue at the same time. */
const concurrency = 32;

async function run(flags: SubmitFlags, path: string): Promise<number> {
  const text = await readText(path);
  const lines = readBatch(text);
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const key = await workKeyOf(flags, signal);
  const created = await createdOf(path);
  const batch = await batchIdOf(key, created, text);
  await using queue = await Queue.open(flags, "culm batch submit");
  await queue.setUp(key, 1000 * flags.ackWait);
  const answered = await begin(queue, batch, {
    key,
    lines: lines.length,
    ids: await idsOf(lines.map(({ customId }) => customId)),
    created,
    submitted: false,
    cancelled: false,
  });
  const ranges = rangesOf(batch, key, lines, {
    lines: flags.rangeLines,
    bytes: queue.mostBytes,
  });
  await addAll(queue, ranges, answered, lines.length, signal);
  await queue.change(batch, { submitted: true });
  note(
    `${lines.length} requests in ${ranges.length} ranges, for workers of model ${key}`,
  );
  await write(`${batch}\n`);
  return 0;
}

/** Enters a batch, or finds the same one; gives the places of the lines that are answered. */
async function begin(
  queue: Queue,
  batch: string,
  manifest: Manifest,
): Promise<Set<number>> {
  const there = await queue.manifest(batch);
  if (!there) {
    await queue.enter(batch, manifest);
    return new Set();
  }
  if (there.cancelled) {
    throw new BadFlags(
      `Cannot submit ${batch}: it was cancelled; culm batch delete forgets it`,
    );
  }
  const answered = await queue.answered(batch);
  note(
    `going on with ${batch}: ${answered.size} of ${manifest.lines} requests are answered`,
  );
  return answered;
}

/** Queues what of the ranges is not answered, and does not wait already. */
async function addAll(
  queue: Queue,
  ranges: readonly Range[],
  answered: ReadonlySet<number>,
  total: number,
  signal: AbortSignal,
): Promise<void> {
  using bar = new ProgressBar("submitting", "requests");
  let done = 0;
  const waiting = ranges.entries();
  const addSome = async () => {
    for (const [n, range] of waiting) {
      const { key, batch } = range;
      const lines = range.lines.filter(({ at }) => !answered.has(at));
      if (lines.length > 0) {
        const subject = subjects.range(key, batch, n);
        await queue.add(subject, writeRange({ ...range, lines }), signal);
      }
      bar.update(done += range.lines.length, total);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, addSome));
}
