import {
  type GgmlType,
  synthesise,
  synthesiseFolder,
  type SynthOptions,
  type SynthShape,
  synthShapes,
} from "../../mod.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes } from "../format.ts";
import { Interrupt } from "../interrupt.ts";
import { BadFlags, group, option } from "../option.ts";
import { writeFile, writeFolder } from "../output_file.ts";
import { note, printable, ProgressBar } from "../terminal.ts";
import { numberBetween, oneOf, wholeNumber } from "../values.ts";

interface SynthFlags {
  readonly output: string;
  readonly force?: true;
  readonly form: SynthOptions["form"] | "huggingface";
  readonly type: string;
  readonly seed: number;
  readonly shape: string;
  readonly embeddingLength?: number;
  readonly feedForwardLength?: number;
  readonly blockCount?: number;
  readonly headCount?: number;
  readonly headCountKv?: number;
  readonly vocabSize?: number;
  readonly contextLength?: number;
  readonly activation: SynthOptions["activation"];
  readonly gatePositive: number;
  readonly active: number;
  readonly predictorRank?: number;
  readonly predictorRecall: number;
}

const types: readonly GgmlType[] = [
  "F32",
  "F16",
  "BF16",
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q8_0",
  "Q2_K",
  "Q3_K",
  "Q4_K",
  "Q5_K",
  "Q6_K",
];

const size = (flags: string, description: string) =>
  option(flags, description, wholeNumber(1));

/** Makes model files to measure with. */
export const synth: CommandSpec = {
  name: "synth",
  summary:
    "write a model file of any size with random weights whose neurons fire as often as asked",
  options: [
    ...group(
      "File",
      option("-o, --output <path>", "where to write it").makeOptionMandatory(),
      option("--force", "replace a file that is there"),
      option(
        "--form <form>",
        "powerinfer (ffn_down_t), llama (the same weights, dense, for llama.cpp) or huggingface (a folder of safetensors)",
        oneOf("powerinfer", "llama", "huggingface"),
        "powerinfer",
      ),
      option(
        "--type <type>",
        `type of the matrices: ${types.join(", ").toLowerCase()}`,
        oneOf(...types.map((type) => type.toLowerCase())),
        "q4_0",
      ),
      option(
        "-s, --seed <n>",
        "the same seed writes the same weights",
        wholeNumber(0),
        1,
      ),
    ),
    ...group(
      "Sizes",
      option(
        "--shape <name>",
        Object.keys(synthShapes).join(", "),
        oneOf(...Object.keys(synthShapes)),
        "bamboo-7b",
      ),
      size("--embedding-length <n>", "width of the residual stream"),
      size("--feed-forward-length <n>", "neurons of a layer"),
      size("--block-count <n>", "layers"),
      size("--head-count <n>", "query heads"),
      size("--head-count-kv <n>", "key and value heads"),
      size("--vocab-size <n>", "tokens"),
      size("--context-length <n>", "positions that the file claims"),
    ),
    ...group(
      "Sparsity",
      option(
        "--activation <name>",
        "drelu (architecture bamboo) or reglu (llama in PowerInfer's form)",
        oneOf("drelu", "reglu"),
        "drelu",
      ),
      option(
        "--gate-positive <share>",
        "neurons whose gate is positive; in reglu those fire",
        numberBetween(0, 1),
        0.39,
      ),
      option(
        "--active <share>",
        "neurons that fire",
        numberBetween(0, 1),
        0.15,
      ),
      option(
        "--predictor-rank <n>",
        "adds a predictor of this rank",
        wholeNumber(1),
      ),
      option(
        "--predictor-recall <share>",
        "neurons that fire which it selects",
        numberBetween(0, 1),
        0.96,
      ),
    ),
  ],
  examples: [
    "culm synth -o bamboo-7b.gguf --predictor-rank 1024",
    "culm synth -o bamboo-7b-dense.gguf --form llama",
    "culm synth -o bamboo-7b --form huggingface --type bf16",
    "culm synth -o small.gguf --shape small --type q8_0 --gate-positive 0.2 --active 0.1",
  ],
  run,
};

async function run(flags: SynthFlags): Promise<number> {
  using interrupt = new Interrupt();
  const start = performance.now();
  const { form } = flags;
  if (form === "huggingface" && flags.predictorRank !== undefined) {
    throw new BadFlags("Cannot put a predictor into a Hugging Face folder");
  }
  const made = form === "huggingface"
    ? synthesiseFolder(optionsOf(flags))
    : synthesise({ ...optionsOf(flags), form });
  using bar = new ProgressBar("writing");
  const output = {
    force: flags.force,
    signal: interrupt.signal,
    onProgress: (bytes: number) =>
      bar.update(
        bytes,
        made.tensorBytes,
        `${formatBytes(bytes)} of ${formatBytes(made.tensorBytes)}`,
      ),
  };
  const written =
    await ("files" in made
      ? writeFolder(flags.output, made.files, output)
      : writeFile(flags.output, made.chunks, output));
  bar[Symbol.dispose]();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  note(
    `wrote ${printable(flags.output)}: ${formatBytes(written)} in ${seconds} s`,
  );
  return 0;
}

function optionsOf(flags: SynthFlags): Omit<SynthOptions, "form"> {
  const named = synthShapes[flags.shape];
  const shape: SynthShape = {
    hiddenSize: flags.embeddingLength ?? named.hiddenSize,
    feedForwardSize: flags.feedForwardLength ?? named.feedForwardSize,
    layerCount: flags.blockCount ?? named.layerCount,
    headCount: flags.headCount ?? named.headCount,
    kvHeadCount: flags.headCountKv ?? named.kvHeadCount,
    vocabSize: flags.vocabSize ?? named.vocabSize,
    contextSize: flags.contextLength ?? named.contextSize,
  };
  return {
    shape,
    type: flags.type.toUpperCase() as GgmlType,
    activation: flags.activation,
    gatePositive: flags.gatePositive,
    active: flags.active,
    predictor: flags.predictorRank === undefined ? undefined : {
      rank: flags.predictorRank,
      recall: flags.predictorRecall,
    },
    seed: flags.seed,
  };
}
