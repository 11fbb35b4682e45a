import { CulmError } from "../../../mod.ts";
import {
  type BatchLine,
  type BatchResult,
  createServer,
  readBatch,
  runBatch,
} from "../../../server.ts";
import { isObject } from "../../../src/formats/json.ts";
import { readResult } from "../../../src/server/batch/run.ts";
import { mayKeep } from "../../beside_model.ts";
import {
  Checkpoint,
  isUnfinished,
  sha256,
  stateOptions,
} from "../../checkpoint.ts";
import type { CommandSpec } from "../../command.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { readText } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import { localModel, modelOptions, runOptions } from "../../options.ts";
import { OutputFile } from "../../output_file.ts";
import { workOf } from "../../queue/work_key.ts";
import { ProgressBar, write } from "../../terminal.ts";
import {
  concurrencyOf,
  createdOf,
  inInputOrder,
  linesOf,
  parallelFlag,
  summarise,
} from "./output.ts";

const { state, force } = stateOptions("batch");

const options = {
  Batch: {
    output: {
      type: "string",
      flag: "-o, --output <file>",
      defaultText: "standard output",
      description: "where the results go, a line of JSON each",
    },
    order: {
      enum: ["input", "done"],
      default: "input",
      flag: "--order <order>",
      description:
        "input = results in the order of their requests, done = as they came",
    },
    parallel: parallelFlag,
    state: {
      ...state,
      defaultText: "OUTPUT.batch, where there is an output",
    },
    force,
  },
  Model: modelOptions,
  Running: runOptions,
  GPU: runGpuOptions,
} as const satisfies FlagGroups;

type BatchFlags = FlagsOfGroups<typeof options>;

/** Answers a file of requests. */
export const batch: CommandSpec = {
  name: "batch",
  argument: "<requests.jsonl>",
  summary:
    "answer a file of requests in OpenAI's batch format, which goes on where it was stopped",
  options,
  examples: [
    "culm batch requests.jsonl -m model.gguf -o results.jsonl",
    "culm batch - -m model.gguf --order done < requests.jsonl",
  ],
  run,
};

/** Answers with 500 in a row after which something is wrong with more than the requests. */
const mostFailures = 3;

async function run(flags: BatchFlags, path: string): Promise<number> {
  const text = await readText(path);
  const lines = readBatch(text);
  const statePath = await statePathOf(flags);
  using output = flags.output === undefined
    ? undefined
    : await OutputFile.open(flags.output, {
      force: flags.force,
      inputs: [path, localModel(flags) ?? []].flat(),
      goesOn: statePath !== undefined && await isUnfinished("batch", statePath),
    });
  using interrupt = new Interrupt();
  using work = await Checkpoint.open(
    "batch",
    { state: statePath, force: flags.force },
    [await sha256(text), ...await workOf(flags, interrupt.signal)],
    readResult,
    { forceKeepsWork: true },
  );
  const ordered = () =>
    flags.order === "input" ? inInputOrder(lines, work.results) : work.results;
  await work.goOn(lines.length, "requests", async () => {
    await answer(flags, lines, await createdOf(path), work, interrupt);
    await output?.write(linesOf(ordered()));
  });
  if (!output) {
    for (const chunk of linesOf(ordered())) await write(chunk);
  }
  return summarise(work.results);
}

/** Where unfinished work is kept: beside the output, where the sandbox permits. */
async function statePathOf(
  { state, output }: BatchFlags,
): Promise<string | undefined> {
  if (state !== undefined || output === undefined) return state;
  const usual = `${output}.batch`;
  return await mayKeep(usual) ? usual : undefined;
}

/** Answers what is left of the requests. */
async function answer(
  flags: BatchFlags,
  lines: readonly BatchLine[],
  created: number,
  work: Checkpoint<BatchResult>,
  interrupt: Interrupt,
): Promise<void> {
  const done = new Set(work.results.map(({ custom_id }) => custom_id));
  const left = lines.filter(({ customId }) => !done.has(customId));
  if (left.length === 0) return;
  await using model = await loadModel(flags, interrupt);
  const { parallel } = flags;
  // There is nobody whose waiting has to end.
  await using server = createServer(model, { parallel, timeLimit: 0 });
  using bar = new ProgressBar("batch", "requests", done.size);
  const results = runBatch(left, {
    fetch: (request) => server.fetch(request),
    concurrency: concurrencyOf(parallel),
    created,
    signal: interrupt.signal,
  });
  let failures = 0;
  for await (const result of results) {
    await work.add(result);
    bar.update(work.results.length, lines.length);
    const { status_code, body } = result.response;
    failures = status_code === 500 ? failures + 1 : 0;
    if (failures < mostFailures) continue;
    await work.keepOnly(work.results.length - failures);
    throw new CulmError(
      `Cannot go on: ${failures} requests in a row failed, the last with: ${
        errorMessageOf(body)
      }`,
    );
  }
}

function errorMessageOf(body: unknown): string {
  const error = isObject(body) && isObject(body.error) ? body.error : {};
  return String(error.message);
}
