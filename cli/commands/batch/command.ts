import { CulmError } from "../../../mod.ts";
import {
  type BatchLine,
  type BatchResult,
  createServer,
  isAnswered,
  readBatch,
  runBatch,
} from "../../../server.ts";
import { isObject } from "../../../src/formats/json.ts";
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
import { loadModel, modelFingerprint } from "../../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import {
  cacheTypeOf,
  localModel,
  modelOptions,
  runOptions,
} from "../../options.ts";
import { OutputFile, statOf } from "../../output_file.ts";
import { note, ProgressBar, write } from "../../terminal.ts";

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
    parallel: {
      type: "integer",
      minimum: 1,
      maximum: 512,
      default: 16,
      flag: "-np, --parallel <n>",
      description: "most texts that are written at the same time",
    },
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

/** Requests that wait, so that the next text can begin at once. */
const waiting = 2;

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
  const { sparsity, contextSize } = flags;
  using interrupt = new Interrupt();
  using work = await Checkpoint.open(
    "batch",
    { state: statePath, force: flags.force },
    [
      await modelFingerprint(flags, interrupt.signal),
      await sha256(text),
      [sparsity, contextSize, cacheTypeOf(flags)],
    ],
    readResult,
    { forceKeepsWork: true },
  );
  await work.goOn(lines.length, "requests", async () => {
    await answer(flags, lines, await createdOf(path), work, interrupt);
    await output?.write(outputOf(flags, lines, work.results));
  });
  if (!output) {
    for (const chunk of outputOf(flags, lines, work.results)) {
      await write(chunk);
    }
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

/**
 * The time of the answers, in seconds: that of the requests, so that the same
 * file has the same results whenever, and however often, it is gone on with.
 */
async function createdOf(path: string): Promise<number> {
  const { mtime } = await statOf(path) ?? {};
  return Math.floor((mtime?.getTime() ?? Date.now()) / 1000);
}

/** A result as it lies in a file, or undefined where it is none. */
function readResult(value: unknown): BatchResult | undefined {
  if (!isObject(value) || !isObject(value.response)) return undefined;
  const fits = typeof value.custom_id === "string" &&
    typeof value.response.status_code === "number";
  return fits ? value as unknown as BatchResult : undefined;
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
    concurrency: parallel + waiting,
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

/** The results as lines, in the order that is asked for. */
function* outputOf(
  { order }: BatchFlags,
  lines: readonly BatchLine[],
  results: readonly BatchResult[],
): Generator<Uint8Array> {
  const places = new Map(lines.map(({ customId }, i) => [customId, i]));
  const placeOf = ({ custom_id }: BatchResult) => places.get(custom_id)!;
  const ordered = order === "input"
    ? results.toSorted((a, b) => placeOf(a) - placeOf(b))
    : results;
  const encoder = new TextEncoder();
  for (const result of ordered) {
    yield encoder.encode(`${JSON.stringify(result)}\n`);
  }
}

/** Says how many were answered; the exit code is 1 where some were not. */
function summarise(results: readonly BatchResult[]): number {
  const answered = results.filter(isAnswered).length;
  const refused = results.length - answered;
  note(
    `${results.length} requests: ${answered} answered, ${refused} refused${
      refused > 0 ? " (status_code and error of their results say why)" : ""
    }`,
  );
  return refused > 0 ? 1 : 0;
}
