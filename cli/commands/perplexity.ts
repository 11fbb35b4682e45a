import {
  estimatePerplexity,
  isSparse,
  type LanguageModel,
  scoreChunks,
  type Sparsity,
  textChunks,
  type TextScore,
} from "../../mod.ts";
import type { CommandSpec } from "../command.ts";
import { formatDuration } from "../format.ts";
import { readTexts } from "../input.ts";
import { Interrupt } from "../interrupt.ts";
import { describe, loadModel, modelFingerprint } from "../model_file.ts";
import { BadFlags, group, option } from "../option.ts";
import { benchLoadOptions, cacheTypeOf, type LoadFlags } from "../options.ts";
import { checkOutput, writeFile } from "../output_file.ts";
import {
  finalEstimate,
  type PerplexityReport,
  rowOf,
  toCsv,
  toJson,
  toSvg,
  toTable,
} from "../perplexity_output.ts";
import { note, printable, ProgressBar, write } from "../terminal.ts";
import { sha256, stateOptions, UnfinishedWork } from "../unfinished.ts";
import { shares, wholeNumber } from "../values.ts";

interface PerplexityFlags extends LoadFlags {
  readonly file?: string;
  readonly chunks?: number;
  readonly keep?: readonly number[];
  readonly csv?: true;
  readonly json?: true;
  readonly svg?: string;
  readonly state?: string;
  readonly force?: true;
}

/** Measures how well a model predicts a text. */
export const perplexity: CommandSpec = {
  name: "perplexity",
  summary:
    "measure a text's perplexity by llama-perplexity's method, and how it grows as fewer neurons are kept",
  options: [
    ...group(
      "Perplexity",
      option("-f, --file <file>", "the text; left out or -: standard input"),
      option(
        "-c, --ctx-size <n>",
        "tokens of a chunk, of which the second half is scored",
        wholeNumber(4),
        512,
      ),
      option(
        "--chunks <n>",
        "chunks to score (default: all)",
        wholeNumber(1),
      ),
      option(
        "--keep <shares>",
        "a row for each share of a layer's neurons that is kept, those of the largest activations: 1,0.2,0.1",
        shares,
      ),
      option("--csv", "print the rows as CSV"),
      option("--json", "print the rows as JSON"),
      option("--svg <file>", "draw perplexity against the share kept"),
      ...stateOptions("perplexity"),
    ),
    ...benchLoadOptions,
  ],
  examples: [
    "culm perplexity -m model.gguf -f wiki.test.raw",
    "culm perplexity -m model.gguf -f wiki.test.raw --keep 1,0.2,0.15,0.12,0.10 --svg kept.svg",
  ],
  run,
};

async function run(flags: PerplexityFlags): Promise<number> {
  const { keep, csv, json, svg } = flags;
  if (csv && json) throw new BadFlags("Cannot print both --csv and --json");
  if (keep && flags.sparsity.mode !== "exact") {
    throw new BadFlags(
      "Cannot take both --keep and --sparsity: --keep 0.2 is --sparsity top-k=0.2",
    );
  }
  if (svg !== undefined) {
    if (!keep) {
      throw new BadFlags("Cannot draw a single value: --svg needs --keep");
    }
    await checkOutput(svg, flags);
  }
  const report = await measure(flags);
  if (json) await write(toJson(report));
  else if (csv) await write(toCsv(report));
  else if (keep) await write(toTable(report));
  else await write(`\n${finalEstimate(report.rows[0])}`);
  if (svg !== undefined) {
    const bytes = new TextEncoder().encode(await toSvg(report));
    await writeFile(svg, [bytes], flags);
    note(`wrote ${printable(svg)}`);
  }
  return 0;
}

/** Ways to run the model, each by the share that it keeps, and what `--sparsity` calls it. */
function waysOf(
  { keep, sparsity }: PerplexityFlags,
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

async function measure(flags: PerplexityFlags): Promise<PerplexityReport> {
  const { keep, chunks: most = Infinity } = flags;
  const [text] = await readTexts(
    flags.file === undefined ? undefined : [flags.file],
    "measure perplexity",
  );
  using interrupt = new Interrupt();
  const sparsity: Sparsity = keep
    ? { mode: "top-k", share: keep[0] }
    : flags.sparsity;
  await using model = await loadModel({ ...flags, sparsity }, interrupt);
  if (keep && !isSparse(model.model.activation)) {
    note(
      `warning: activation ${model.model.activation} is never zero: what is not kept is lost`,
    );
  }
  const chunks = textChunks(model.tokenizer, text, flags.ctxSize)
    .slice(0, most);
  const work = await UnfinishedWork.open("perplexity", flags, [
    await modelFingerprint(flags),
    await sha256(text),
    [flags.ctxSize, chunks.length, sparsity, keep, cacheTypeOf(flags)],
  ], readScores);
  note(
    `perplexity: ${chunks.length} chunks of ${flags.ctxSize} tokens, in steps of ${model.engine.batchSize}`,
  );
  await score(flags, model, chunks, work, interrupt.signal);
  return {
    model: describe(model),
    contextSize: flags.ctxSize,
    chunks: chunks.length,
    rows: waysOf(flags).map(({ keep, name }, i) =>
      rowOf(name, keep, work.results.map((scores) => scores[i]))
    ),
  };
}

/** A chunk's scores as they lie in a file, or undefined where they are none. */
function readScores(value: unknown): TextScore[] | undefined {
  const isScore = (score: TextScore) =>
    [score?.tokens, score?.nll, score?.squares].every(Number.isFinite);
  return Array.isArray(value) && value.every(isScore) ? value : undefined;
}

/** Scores the chunks that are left, showing how far that has come. */
async function score(
  { keep, csv, json }: PerplexityFlags,
  { engine }: LanguageModel,
  chunks: readonly Int32Array[],
  work: UnfinishedWork<TextScore[]>,
  signal: AbortSignal,
): Promise<void> {
  const skip = work.results.length;
  if (skip > 0) note(`going on after ${skip} of ${chunks.length} chunks`);
  const runs = !(keep || csv || json);
  const show = async (count: number) => {
    if (!runs) return;
    const first = work.results.slice(0, count).map(([score]) => score);
    const { perplexity } = estimatePerplexity(first);
    await write(`[${count}]${perplexity.toFixed(4)},`);
  };
  for (let i = 1; i <= skip; i++) await show(i);
  const start = performance.now();
  using bar = new ProgressBar("scoring");
  try {
    for await (
      const scores of scoreChunks(engine, chunks, { keep, skip, signal })
    ) {
      await work.add(scores);
      const done = work.results.length;
      await show(done);
      const each = (performance.now() - start) / (done - skip);
      const left = formatDuration(each * (chunks.length - done));
      // On one terminal the bar would erase what was shown.
      if (runs && Deno.stdout.isTerminal()) continue;
      bar.update(
        done,
        chunks.length,
        `${done} of ${chunks.length}, ${left} left`,
      );
    }
  } catch (error) {
    bar[Symbol.dispose]();
    if (await work.keep()) {
      note(
        `kept ${work.results.length} of ${chunks.length} chunks in ${
          printable(work.path!)
        }; the same command goes on from there`,
      );
    }
    throw error;
  }
  await work.finish();
}
