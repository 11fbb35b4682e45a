/**
 * Measuring a text's perplexity, in one way or in several at once. Work that is
 * stopped goes on when it is given again.
 *
 * @module
 */
// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { CulmError, type LanguageModel, type Sparsity } from "../../../mod.ts";
import {
  estimatePerplexity,
  mostKept,
  scoreChunks,
  textChunks,
  type TextScore,
} from "../../../lab.ts";
import { isSparse } from "../../../gguf.ts";
import { Interrupt } from "../../interrupt.ts";
import { describe, loadModel, modelFingerprint } from "../../model_file.ts";
import { cacheTypeOf, type LoadFlags } from "../../options.ts";
import { type PerplexityReport, rowOf } from "./output.ts";
import { BadFlags } from "../../option.ts";
import type { QueueFlags } from "../../queue/queue.ts";
import { askWorkers, readHeader } from "../../queue/ask_workers.ts";
import { labUrls, readScores } from "../../queue/lab_requests.ts";
import { note, printable, ProgressBar, write } from "../../terminal.ts";
import {
  Checkpoint,
  checkState,
  sha256,
  type StateFlags,
} from "../../checkpoint.ts";

/** Chunks that a worker of a queue takes at once. */
const rangeChunks = 8;

/** What is measured, and how. */
export interface MeasureFlags extends LoadFlags, StateFlags, QueueFlags {
  /** Most chunks to score */
  readonly chunks?: number;
  /** Shares of neurons kept, a row each */
  readonly keep?: readonly number[];
}

/** For whom it is measured. */
export interface MeasureOptions {
  /** The command whose unfinished work it is */
  readonly command: string;
  /** What the text is called */
  readonly textName: string;
  /** Whether the estimate so far is written to standard output after each chunk, as llama-perplexity does */
  readonly running: boolean;
}

/** Ways to run the model, each by the share that it keeps, and what `--sparsity` calls it. */
function waysOf(
  { keep, sparsity }: MeasureFlags,
): { keep?: number; name: string }[] {
  if (keep) {
    return keep.map((share) => ({ keep: share, name: `top-k=${share}` }));
  }
  const { mode } = sparsity;
  switch (mode) {
    case "top-k":
      return [{ keep: sparsity.share, name: `${mode}=${sparsity.share}` }];
    case "threshold":
      return [{ name: `${mode}=${sparsity.value}` }];
    default:
      return [{ name: mode }];
  }
}

/**
 * Loads the model, and measures a text.
 *
 * @throws {UsageError} where the text is shorter than two chunks of `-c`, or other work is unfinished
 */
export async function measurePerplexity(
  flags: MeasureFlags,
  text: string,
  options: MeasureOptions,
): Promise<PerplexityReport> {
  if (flags.queue !== undefined) {
    return await measureByQueue(flags, text, options);
  }
  const { keep, chunks: most = Infinity } = flags;
  await checkState(options.command, flags);
  using interrupt = new Interrupt();
  const sparsity: Sparsity = keep
    ? { mode: "top-k", share: keep[0] }
    : flags.sparsity;
  // On the CPU alone, also where the flags are a command's that has a GPU: a share is kept only there.
  await using model = await loadModel(
    { ...flags, sparsity, gpu: "off" },
    interrupt,
  );
  if (keep && !isSparse(model.model.activation)) {
    note(
      `warning: activation ${model.model.activation} is never zero: what is not kept is lost`,
    );
  }
  const chunks = textChunks(model.tokenizer, text, flags.contextSize)
    .slice(0, most);
  using work = await Checkpoint.open(options.command, flags, [
    await modelFingerprint(flags, interrupt.signal),
    await sha256(text),
    [flags.contextSize, chunks.length, sparsity, keep, cacheTypeOf(flags)],
  ], readScores);
  note(
    `perplexity: ${chunks.length} chunks of ${flags.contextSize} tokens, in steps of ${model.engine.batchSize}`,
  );
  const { running } = options;
  await work.goOn(
    chunks.length,
    "chunks",
    () => score(model, chunks, work, keep, running, interrupt.signal),
  );
  return reportOf(flags, options, model, work.results);
}

/**
 * The same by workers of a queue, without loading the model.
 *
 * @throws {BadFlags} for what workers do not do
 */
async function measureByQueue(
  flags: MeasureFlags,
  text: string,
  options: MeasureOptions,
): Promise<PerplexityReport> {
  if (flags.keep) {
    throw new BadFlags(
      "Cannot take --keep with --queue: workers have one --sparsity each",
    );
  }
  if (flags.state !== undefined) {
    throw new BadFlags(
      "Cannot take --state with --queue: what is done lies there",
    );
  }
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const header = await readHeader(flags, signal);
  const chunks = textChunks(header.tokenizer, text, flags.contextSize)
    .slice(0, flags.chunks);
  const questions = chunks.map((chunk) => ({
    url: labUrls.scores,
    body: { tokens: [...chunk] },
  }));
  const answers = await askWorkers(flags, questions, {
    unit: "chunks",
    label: "perplexity",
    range: rangeChunks,
    signal,
  });
  const scores = answers.map((answer) => {
    const scores = readScores(answer);
    if (scores?.length === 1) return scores;
    throw new CulmError("Cannot go on: a worker has not scored a chunk");
  });
  return reportOf(flags, options, header, scores);
}

/** What the scores of all chunks say. */
function reportOf(
  flags: MeasureFlags,
  options: MeasureOptions,
  model: Parameters<typeof describe>[0],
  scores: readonly (readonly TextScore[])[],
): PerplexityReport {
  const base = mostKept(flags.keep ?? [undefined]);
  const column = (i: number) => scores.map((each) => each[i]);
  return {
    name: printable(basename(flags.model ?? "tiny-bamboo")),
    model: describe(model),
    text: printable(options.textName),
    contextSize: flags.contextSize,
    chunks: scores.length,
    rows: waysOf(flags).map(({ keep, name }, i) =>
      rowOf(name, keep, column(i), column(base))
    ),
  };
}

/** Scores the chunks that are left, showing how far that has come. */
async function score(
  { engine }: LanguageModel,
  chunks: readonly Int32Array[],
  work: Checkpoint<TextScore[]>,
  keep: readonly number[] | undefined,
  runs: boolean,
  signal: AbortSignal,
): Promise<void> {
  const skip = work.results.length, total = chunks.length;
  const show = async (count: number) => {
    if (!runs) return;
    const first = work.results.slice(0, count).map(([score]) => score);
    const { perplexity } = estimatePerplexity(first);
    await write(`[${count}]${perplexity.toFixed(4)},`);
  };
  for (let i = 1; i <= skip; i++) await show(i);
  using bar = new ProgressBar("scoring", "chunks", skip);
  for await (
    const scores of scoreChunks(engine, chunks, { keep, skip, signal })
  ) {
    await work.add(scores);
    const done = work.results.length;
    await show(done);
    // On one terminal the bar would erase what was shown.
    if (runs && Deno.stdout.isTerminal()) continue;
    bar.update(done, total);
  }
}
