/** What is done with a batch in a queue, by its id. */
import { CulmError } from "../../../mod.ts";
import type { CommandSpec } from "../../command.ts";
import { Interrupt } from "../../interrupt.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import { jsonFlag } from "../../options.ts";
import { OutputFile } from "../../output_file.ts";
import { checkBatchId } from "../../queue/batch_id.ts";
import {
  type Manifest,
  Queue,
  queueOptions,
  subjects,
  submitterName,
  workStream,
} from "../../queue/queue.ts";
import { readResults } from "../../queue/results.ts";
import { note, ProgressBar, write } from "../../terminal.ts";
import { linesOf, summarise } from "./output.ts";

const options = { Queue: queueOptions } as const satisfies FlagGroups;
const statusOptions = {
  Queue: { ...queueOptions, json: jsonFlag },
} as const satisfies FlagGroups;
const fetchOptions = {
  Queue: {
    ...queueOptions,
    output: {
      type: "string",
      flag: "-o, --output <file>",
      defaultText: "standard output",
      description:
        "where the results go, a line of JSON each, in the order of their requests",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "replace a file that is there",
    },
  },
} as const satisfies FlagGroups;

type QueueFlags = FlagsOfGroups<typeof options>;
type StatusFlags = FlagsOfGroups<typeof statusOptions>;
type FetchFlags = FlagsOfGroups<typeof fetchOptions>;

const argument = "<batch>";
const exampleOf = (command: string, more = "") =>
  `culm batch ${command} batch_5f0c… --queue nats://queue:4222${more}`;

/** Commands that take the id of a batch. */
export const batchQueueCommands: readonly CommandSpec[] = [
  {
    name: "batch status",
    argument,
    summary: "say how many requests of a batch in a queue are answered",
    options: statusOptions,
    examples: [exampleOf("status")],
    run: status,
  },
  {
    name: "batch fetch",
    argument,
    summary: "wait for the results of a batch in a queue, and write them",
    options: fetchOptions,
    examples: [exampleOf("fetch", " -o results.jsonl")],
    run: fetchResults,
  },
  {
    name: "batch cancel",
    argument,
    summary: "have a batch in a queue answered no further",
    options,
    examples: [exampleOf("cancel")],
    run: cancel,
  },
  {
    name: "batch delete",
    argument,
    summary: "remove a batch from a queue, with its results",
    options,
    examples: [exampleOf("delete")],
    run: remove,
  },
];

/** What is known of a batch. */
async function manifestOf(queue: Queue, batch: string): Promise<Manifest> {
  const manifest = await queue.manifest(batch);
  if (manifest) return manifest;
  throw new CulmError(`There is no ${batch} in the queue`);
}

async function status(flags: StatusFlags, batch: string): Promise<number> {
  checkBatchId(batch);
  await using queue = await Queue.open(flags, submitterName);
  const { lines, cancelled, submitted, created } = await manifestOf(
    queue,
    batch,
  );
  const { size } = await queue.answered(batch, lines);
  const state = cancelled
    ? "cancelled"
    : size >= lines
    ? "completed"
    : submitted
    ? "in_progress"
    : "validating";
  // OpenAI's form of a batch, and its words.
  const card = {
    id: batch,
    object: "batch",
    status: state,
    created_at: created,
    request_counts: { total: lines, completed: size },
  };
  await write(
    flags.json
      ? `${JSON.stringify(card)}\n`
      : `${state}: ${size} of ${lines} requests have results\n`,
  );
  return 0;
}

async function cancel(flags: QueueFlags, batch: string): Promise<number> {
  checkBatchId(batch);
  await using queue = await Queue.open(flags, submitterName);
  const { key } = await manifestOf(queue, batch);
  await queue.change(batch, { cancelled: true });
  await queue.purge(workStream, subjects.range(key, batch, "*"));
  note(`cancelled; culm batch fetch gives what was answered`);
  return 0;
}

async function remove(flags: QueueFlags, batch: string): Promise<number> {
  checkBatchId(batch);
  await using queue = await Queue.open(flags, submitterName);
  const { key } = await manifestOf(queue, batch);
  const count = await queue.delete(batch, key);
  note(`deleted, with ${count} results`);
  return 0;
}

async function fetchResults(
  flags: FetchFlags,
  batch: string,
): Promise<number> {
  checkBatchId(batch);
  const { force } = flags;
  using interrupt = new Interrupt();
  using output = flags.output === undefined
    ? undefined
    : await OutputFile.open(flags.output, { force });
  await using queue = await Queue.open(flags, submitterName);
  const manifest = await manifestOf(queue, batch);
  if (!manifest.submitted) {
    note(
      "note: not all of its requests are in the queue; culm batch submit goes on",
    );
  }
  using bar = new ProgressBar("fetching", "requests");
  const results = await readResults(queue, batch, manifest, {
    signal: interrupt.signal,
    onProgress: (done) => bar.update(done, manifest.lines),
  });
  const { length } = results;
  if (length < manifest.lines) {
    note(`cancelled after ${length} of ${manifest.lines} requests`);
  }
  if (output) await output.write(linesOf(results));
  else for (const chunk of linesOf(results)) await write(chunk);
  return summarise(results);
}
