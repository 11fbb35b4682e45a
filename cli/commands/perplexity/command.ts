import type { CommandSpec } from "../../command.ts";
import { readTexts } from "../../input.ts";
import { BadFlags, group, option } from "../../option.ts";
import { benchLoadOptions } from "../../options.ts";
import { openIfGiven } from "../../output_flags.ts";
import { finalEstimate, toCsv, toJson, toSvg, toTable } from "./output.ts";
import { type MeasureFlags, measurePerplexity } from "./run.ts";
import { write } from "../../terminal.ts";
import { stateOptions } from "../../checkpoint.ts";
import { shares, wholeNumber } from "../../values.ts";

interface PerplexityFlags extends MeasureFlags {
  readonly file?: string;
  readonly csv?: true;
  readonly json?: true;
  readonly svg?: string;
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
  if (svg !== undefined && !keep) {
    throw new BadFlags("Cannot draw a single value: --svg needs --keep");
  }
  using picture = await openIfGiven(svg, flags);
  const [text] = await readTexts(
    flags.file === undefined ? undefined : [flags.file],
    "measure perplexity",
  );
  const report = await measurePerplexity(flags, text, {
    command: "perplexity",
    running: !(keep || csv || json),
  });
  if (json) await write(toJson(report));
  else if (csv) await write(toCsv(report));
  else if (keep) await write(toTable(report));
  else await write(`\n${finalEstimate(report.rows[0])}`);
  await picture?.writeText(await toSvg(report));
  return 0;
}
