import type { CommandSpec } from "../../command.ts";
import { readTexts, textName } from "../../input.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import {
  benchLoadOptions,
  jsonFlag,
  modelOptions,
  scoredTextOptions,
} from "../../options.ts";
import { queueOptions } from "../../queue/queue.ts";
import { openIfGiven } from "../../output_flags.ts";
import { finalEstimate, toCsv, toJson, toSvg, toTable } from "./output.ts";
import { measurePerplexity } from "./run.ts";
import { writeDrawing } from "../../svg.ts";
import { write } from "../../terminal.ts";
import { stateOptions } from "../../checkpoint.ts";
import { shares } from "../../values.ts";

const options = {
  Perplexity: {
    ...scoredTextOptions,
    keep: {
      read: shares,
      flag: "--keep <shares>",
      description:
        "a row for each share of a layer's neurons that is kept, those of the largest activations: 1,0.2,0.1",
    },
    csv: {
      type: "boolean",
      flag: "--csv",
      description: "print the rows as CSV",
    },
    json: { ...jsonFlag, description: "print the rows as JSON" },
    svg: {
      type: "string",
      flag: "--svg <file>",
      description:
        "draw perplexity against the share kept; as PDF where the name ends in .pdf",
    },
    ...stateOptions("perplexity"),
  },
  "Workers of a queue": queueOptions,
  Model: modelOptions,
  Running: benchLoadOptions,
} as const satisfies FlagGroups;

type PerplexityFlags = FlagsOfGroups<typeof options>;

/** Measures how well a model predicts a text. */
export const perplexity: CommandSpec = {
  name: "perplexity",
  summary:
    "measure a text's perplexity by llama-perplexity's method, and how it grows as fewer neurons are kept",
  options,
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
    textName: textName(flags.file),
    running: !(keep || csv || json || flags.queue !== undefined),
  });
  if (json) await write(toJson(report));
  else if (csv) await write(toCsv(report));
  else if (keep) await write(toTable(report));
  else await write(`\n${finalEstimate(report.rows[0])}`);
  if (picture) await writeDrawing(picture, await toSvg(report));
  return 0;
}
