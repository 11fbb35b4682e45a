import type { ByteSource } from "../../../mod.ts";
import {
  checkPredictorOptions,
  collectStates,
  type MadeLayer,
  makePredictor,
  type MakePredictorOptions,
  type PredictorToWrite,
  type States,
  writePredictor,
} from "../../../lab.ts";
import { convert, type TensorToWrite } from "../../../convert.ts";
import { describeModel, type Model, readGguf } from "../../../gguf.ts";
import type { CommandSpec } from "../../command.ts";
import { formatBytes, formatShare } from "../../format.ts";
import { readText, readTexts } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel, openModel } from "../../model_file.ts";
import {
  findPredictor,
  predictorPathOf,
  rankText,
} from "../../model_predictor.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import { countingOptions, jsonFlag, modelOptions } from "../../options.ts";
import { openOutput } from "../../output_flags.ts";
import { openLayers } from "./layers.ts";
import {
  type Candidate,
  measurePredictors,
  toJson,
  toTable,
} from "./measure.ts";
import { firstTokens, lengthOf, windowsOf } from "../profile/run.ts";
import { note, printable, ProgressBar, write } from "../../terminal.ts";
import type { Checkpoint } from "../../checkpoint.ts";

const most = { type: "integer", minimum: 1 } as const;

const options = {
  Predictor: {
    file: {
      type: "strings",
      flag: "-f, --file <file>",
      description:
        "a text of the kind that the model will write; - = standard input",
    },
    recall: {
      type: "number",
      minimum: 0,
      maximum: 1,
      default: 0.99,
      flag: "--recall <share>",
      description: "share of the neurons that fire which it must select",
    },
    rank: {
      ...most,
      defaultText:
        "a 16th of the model's width, 64 at least; with --train, what reads the fewest bytes, by layer",
      flag: "--rank <n>",
      description: "numbers that it takes an input down to",
    },
    tokens: {
      ...most,
      defaultText: "2048, with --train 8192",
      flag: "--tokens <n>",
      description: "most tokens of the text to run",
    },
    output: {
      type: "string",
      defaultText: "MODEL.predictor, which --sparsity predictor finds",
      flag: "-o, --output <file>",
      description:
        "where it goes; NAME.gguf: a PowerInfer file of the model with it",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description:
        "replace a file that is there, and give up other unfinished work",
    },
  },
  Training: {
    train: {
      type: "boolean",
      flag: "--train",
      description:
        "train it, in PowerInfer's form: better, and takes minutes to hours",
    },
    examples: {
      ...most,
      defaultText: "32768",
      flag: "--examples <n>",
      description:
        "inputs that it is trained on: the text's tokens, and mixtures of them where those are fewer",
    },
    epochs: {
      ...most,
      defaultText: "5",
      flag: "--epochs <n>",
      description: "times that each example is seen",
    },
  },
  Measuring: {
    measure: {
      type: "string",
      flag: "--measure <file>",
      description:
        "another text, on which the predictor is measured beside the exact model",
    },
    predictor: {
      type: "strings",
      flag: "--predictor <file>",
      description:
        "a predictor to measure as well; without -f, nothing is made",
    },
    chunks: {
      ...most,
      defaultText: "all",
      flag: "--chunks <n>",
      description: "chunks of -c tokens to measure",
    },
    json: { ...jsonFlag, description: "print what was measured as JSON" },
  },
  Model: modelOptions,
  Running: countingOptions,
} as const satisfies FlagGroups;

type PredictorFlags = FlagsOfGroups<typeof options>;

/** Makes a predictor for a model that has none, and measures predictors. */
export const predictor: CommandSpec = {
  name: "predictor",
  summary:
    "make a predictor of which neurons fire, without training or trained on a text, and measure predictors",
  options,
  examples: [
    "culm predictor -m model.gguf -f text.txt",
    "culm predictor -m model.gguf -f text.txt --recall 0.95 --rank 512 -o quick.predictor",
    "culm predictor -m model.gguf -f text.txt --train --recall 0.95 --measure other.txt",
    "culm predictor -m model.gguf -f text.txt --train -o model.powerinfer.gguf",
    "culm predictor -m model.gguf --measure other.txt --predictor a.predictor --predictor b.predictor",
  ],
  run,
};

async function run(flags: PredictorFlags): Promise<number> {
  const { measure, chunks = Infinity, json } = flags;
  if (measure === undefined && (json || flags.predictor)) {
    throw new BadFlags(
      "Cannot measure predictors without a text: give --measure FILE",
    );
  }
  if (!flags.train && (flags.examples ?? flags.epochs) !== undefined) {
    throw new BadFlags("Cannot use --examples or --epochs without --train");
  }
  const heldOut = measure === undefined ? undefined : await readText(measure);
  using interrupt = new Interrupt();
  const made = flags.file || heldOut === undefined
    ? [await make(flags, interrupt)]
    : [];
  if (heldOut === undefined) return 0;
  const given = (flags.predictor ?? []).map((predictor) => ({ predictor }));
  const named = [...made, ...given];
  const report = await measurePredictors(
    { ...flags, predictor: undefined },
    named.length > 0 ? named : await found(flags),
    heldOut,
    chunks,
    interrupt,
  );
  await write(json ? toJson(report) : toTable(report));
  return 0;
}

/** The predictor that `--sparsity predictor` would find. */
async function found(flags: PredictorFlags): Promise<Candidate[]> {
  const path = await findPredictor({
    ...flags,
    predictor: undefined,
    sparsity: { mode: "predictor" },
  });
  return [{ predictor: path ?? false }];
}

/** Makes a predictor, and says where it is. */
async function make(
  flags: PredictorFlags,
  interrupt: Interrupt,
): Promise<Candidate> {
  const path = flags.output ?? predictorPathOf(flags);
  if (path === undefined) {
    throw new BadFlags(
      "Cannot tell where the predictor should go: give -o FILE, or -m with a local file",
    );
  }
  const isModel = path.endsWith(".gguf");
  if (isModel) checkModelFlags(flags);
  using output = await openOutput(path, flags, { made: "predictor" });
  const texts = await readTexts(flags.file, "make a predictor");
  const { signal } = interrupt;
  const source = await openModel(flags, signal);
  try {
    const model = describeModel(await readGguf(source), flags);
    const options = makeOptions(flags, signal);
    checkPredictorOptions(model, options);
    using work = await openLayers(path, flags, texts, model, source, options);
    await work.goOn(model.layers.length, "layers", async () => {
      const states = await readStates(flags, texts, model, interrupt);
      const made = await makeShown(model, source, states, options, work);
      using bar = new ProgressBar("writing", "bytes");
      const size = await output.write(
        isModel ? withModel(source, made) : writePredictor(made),
        {
          signal,
          onProgress: (bytes) => bar.update(bytes, source.size),
        },
      );
      bar[Symbol.dispose]();
      note(
        `wrote ${printable(path)}: rank ${rankText(ranksOf(made))}, ${
          formatShare(flags.recall, 1)
        } of firing neurons, from ${made.tokens} tokens; ${formatBytes(size)}`,
      );
    });
  } finally {
    await source.close();
  }
  return isModel ? { model: path, predictor: false } : { predictor: path };
}

/** @throws {BadFlags} where the predictor could not stand in a PowerInfer file */
function checkModelFlags({ train, activation }: PredictorFlags): void {
  if (!train) {
    throw new BadFlags(
      "Cannot put a predictor without training into a PowerInfer file, whose predictors have a ReLU: give --train",
    );
  }
  if (activation !== undefined) {
    throw new BadFlags(
      "Cannot put a predictor into a PowerInfer file with --activation: the file could not say so",
    );
  }
}

function makeOptions(
  { rank, recall, train, examples, epochs, threads }: PredictorFlags,
  signal: AbortSignal,
): MakePredictorOptions {
  const training = train ? { examples, epochs } : undefined;
  return { rank, recall, training, threads, signal };
}

/** Makes the layers that are left, and shows how far that has come. */
async function makeShown(
  model: Model,
  source: ByteSource,
  states: States,
  options: MakePredictorOptions,
  work: Checkpoint<MadeLayer>,
): Promise<PredictorToWrite> {
  const { training } = options;
  const total = model.layers.length, before = work.results.length;
  const label = training ? "training" : "factorising";
  using bar = new ProgressBar(label, "layers", before);
  return await makePredictor(model, source, states, {
    ...options,
    made: work.results,
    training: training && {
      ...training,
      onStep: (layer, rank, done) =>
        bar.update(
          work.results.length,
          total,
          `layer ${layer + 1}, rank ${rank}: ${formatShare(done, 1)}; `,
        ),
    },
    onLayer: async (layer, done) => {
      await work.add(layer);
      bar.update(done, total);
    },
  });
}

/** A PowerInfer file of the model with the predictor. */
async function* withModel(
  source: ByteSource,
  { tensors }: PredictorToWrite,
): AsyncGenerator<Uint8Array> {
  const file = await convert(source, { predictors: tensors });
  try {
    for (const each of file.notes) note(`note: ${printable(each)}`);
    yield* file.chunks();
  } finally {
    await file.close();
  }
}

function ranksOf({ tensors }: PredictorToWrite): number[] {
  const isFc1 = ({ name }: TensorToWrite) => name.endsWith(".fc1.weight");
  return tensors.filter(isFc1).map(({ shape }) => shape[1]);
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
    { keepFfnInputs: true },
  );
  const size = Math.min(flags.contextSize, contextSize);
  const windows = windowsOf(loaded.tokenizer, texts, size);
  using bar = new ProgressBar("running", "tokens");
  const read = firstTokens(
    windows,
    flags.tokens ?? (flags.train ? 8192 : 2048),
  );
  const total = lengthOf(read);
  return await collectStates(
    loaded.engine,
    loaded.model,
    read,
    interrupt.signal,
    (done) => bar.update(done, total),
  );
}
