import {
  checkPredictorOptions,
  collectStates,
  defaultRank,
  describeModel,
  makePredictor,
  type Model,
  readGguf,
  type States,
  writePredictor,
} from "../../mod.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes, formatLeft, formatShare } from "../format.ts";
import { readTexts } from "../input.ts";
import { Interrupt } from "../interrupt.ts";
import { loadModel, openModel } from "../model_file.ts";
import { predictorPathOf } from "../model_predictor.ts";
import { BadFlags, group, option } from "../option.ts";
import { countingOptions, type LoadFlags, modelOptions } from "../options.ts";
import { checkOutput, writeFile } from "../output_file.ts";
import { firstTokens, lengthOf, windowsOf } from "../profile_run.ts";
import { note, printable, ProgressBar } from "../terminal.ts";
import { numberBetween, paths, wholeNumber } from "../values.ts";

interface PredictorFlags extends LoadFlags {
  readonly file?: string[];
  readonly rank?: number;
  readonly recall: number;
  readonly tokens: number;
  readonly output?: string;
  readonly force?: true;
}

/** Makes a predictor for a model that has none. */
export const predictor: CommandSpec = {
  name: "predictor",
  summary:
    "make a predictor of which neurons fire, without training, for a model that has none",
  options: [
    ...group(
      "Predictor",
      option(
        "-f, --file <file>",
        "a text of the kind that the model will write; may be repeated; - = standard input",
        paths,
      ),
      option(
        "--recall <share>",
        "share of the neurons that fire which it must ask for",
        numberBetween(0, 1),
        0.99,
      ),
      option(
        "--rank <n>",
        "numbers that it takes an input down to (default: a 16th of the model's width, 64 at least)",
        wholeNumber(1),
      ),
      option(
        "--tokens <n>",
        "most tokens of the text to run",
        wholeNumber(1),
        2048,
      ),
      option(
        "-o, --output <file>",
        "where it goes (default: MODEL.predictor, which --sparsity predictor finds)",
      ),
      option("--force", "replace a file that is there"),
    ),
    ...modelOptions,
    ...countingOptions,
  ],
  examples: [
    "culm predictor -m model.gguf -f text.txt",
    "culm predictor -m model.gguf -f text.txt --recall 0.95 --rank 512 -o quick.predictor",
  ],
  run,
};

async function run(flags: PredictorFlags): Promise<number> {
  const output = flags.output ?? predictorPathOf(flags);
  if (output === undefined) {
    throw new BadFlags(
      "Cannot tell where the predictor should go: give -o FILE, or -m with a local file",
    );
  }
  await checkOutput(output, flags);
  const texts = await readTexts(flags.file, "make a predictor");
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const source = await openModel(flags);
  try {
    const model = describeModel(await readGguf(source), flags);
    const { rank = defaultRank(model), recall } = flags;
    checkPredictorOptions(model, rank, recall);
    const states = await readStates(flags, texts, model, interrupt);
    using bar = new ProgressBar("factorising");
    const start = performance.now();
    const made = await makePredictor(model, source, states, {
      rank,
      recall,
      signal,
      onLayer: (done, total) => {
        const left = formatLeft(start, done, total - done);
        bar.update(done, total, `${done} of ${total} layers, ${left}`);
      },
    });
    const size = await writeFile(output, writePredictor(made), {
      force: flags.force,
      signal,
    });
    bar[Symbol.dispose]();
    note(
      `wrote ${printable(output)}: rank ${rank}, ${
        formatShare(recall, 1)
      } of firing neurons, from ${states.tokens} tokens; ${formatBytes(size)}`,
    );
  } finally {
    await source.close();
  }
  return 0;
}

/** Runs the texts, as far as `--tokens` goes, on the model, which is closed again. */
async function readStates(
  flags: PredictorFlags,
  texts: readonly string[],
  { contextSize }: Model,
  interrupt: Interrupt,
): Promise<States> {
  await using loaded = await loadModel(
    {
      ...flags,
      sparsity: { mode: "exact" },
      profile: false,
      predictor: false,
    },
    interrupt,
    { keepNormed: true },
  );
  const size = Math.min(flags.ctxSize, contextSize);
  const windows = windowsOf(loaded.tokenizer, texts, size);
  using bar = new ProgressBar("running");
  const read = firstTokens(windows, flags.tokens);
  const total = lengthOf(read);
  return await collectStates(
    loaded.engine,
    loaded.model,
    read,
    interrupt.signal,
    (done) => bar.update(done, total, `${done} of ${total} tokens`),
  );
}
