import type { GgmlType } from "../../gguf.ts";
import {
  synthesise,
  synthesiseFolder,
  type SynthOptions,
  type SynthShape,
  synthShapes,
} from "../../lab.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes } from "../format.ts";
import { Interrupt } from "../interrupt.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../option.ts";
import { writeFile, writeFolder } from "../output_file.ts";
import { note, printable, ProgressBar } from "../terminal.ts";

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

const typeNames = types.map((type) => type.toLowerCase());

const size = { type: "integer", minimum: 1 } as const;
const share = { type: "number", minimum: 0, maximum: 1 } as const;

const options = {
  File: {
    output: {
      type: "string",
      required: true,
      flag: "-o, --output <path>",
      description: "where to write it",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "replace a file that is there",
    },
    form: {
      enum: ["powerinfer", "llama", "huggingface"],
      default: "powerinfer",
      flag: "--form <form>",
      description:
        "powerinfer (ffn_down_t), llama (the same weights, dense, for llama.cpp) or huggingface (a folder of safetensors)",
    },
    type: {
      enum: typeNames,
      default: "q4_0",
      flag: "--type <type>",
      description: `type of the matrices: ${typeNames.join(", ")}`,
    },
    seed: {
      type: "integer",
      minimum: 0,
      default: 1,
      flag: "-s, --seed <n>",
      description: "the same seed writes the same weights",
    },
  },
  Sizes: {
    shape: {
      enum: Object.keys(synthShapes),
      default: "bamboo-7b",
      flag: "--shape <name>",
      description: Object.keys(synthShapes).join(", "),
    },
    embeddingLength: {
      ...size,
      flag: "--embedding-length <n>",
      description: "width of the residual stream",
    },
    feedForwardLength: {
      ...size,
      flag: "--feed-forward-length <n>",
      description: "neurons of a layer",
    },
    expertCount: {
      ...size,
      flag: "--expert-count <n>",
      description: "experts of a layer, each of so many neurons",
    },
    expertUsedCount: {
      ...size,
      flag: "--expert-used-count <n>",
      description: "experts that a token chooses",
    },
    blockCount: { ...size, flag: "--block-count <n>", description: "layers" },
    headCount: {
      ...size,
      flag: "--head-count <n>",
      description: "query heads",
    },
    headCountKv: {
      ...size,
      flag: "--head-count-kv <n>",
      description: "key and value heads",
    },
    keyLength: {
      ...size,
      flag: "--key-length <n>",
      description: "elements of a head",
    },
    vocabSize: { ...size, flag: "--vocab-size <n>", description: "tokens" },
    contextLength: {
      ...size,
      flag: "--context-length <n>",
      description: "positions that the file claims",
    },
  },
  Sparsity: {
    activation: {
      enum: ["drelu", "reglu"],
      default: "drelu",
      flag: "--activation <name>",
      description:
        "drelu (architecture bamboo; of experts turbosparsemixtral) or reglu (llama in PowerInfer's form; of experts smallthinker)",
    },
    gatePositive: {
      ...share,
      default: 0.39,
      flag: "--gate-positive <share>",
      description: "neurons whose gate is positive; in reglu those fire",
    },
    active: {
      ...share,
      default: 0.15,
      flag: "--active <share>",
      description: "neurons that fire",
    },
    predictorRank: {
      ...size,
      flag: "--predictor-rank <n>",
      description: "add a predictor of this rank",
    },
    predictorRecall: {
      ...share,
      default: 0.96,
      flag: "--predictor-recall <share>",
      description: "neurons that fire which it selects",
    },
  },
} as const satisfies FlagGroups;

type SynthFlags = FlagsOfGroups<typeof options>;

/** Makes model files to measure with. */
export const synth: CommandSpec = {
  name: "synth",
  summary:
    "write a model file of any size with random weights whose neurons fire as often as asked",
  options,
  examples: [
    "culm synth -o bamboo-7b.gguf --predictor-rank 1024",
    "culm synth -o bamboo-7b-dense.gguf --form llama",
    "culm synth -o bamboo-7b --form huggingface --type bf16",
    "culm synth -o smallthinker.gguf --shape smallthinker-4b --activation reglu --gate-positive 0.3 --active 0.3",
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
  using bar = new ProgressBar("writing", "bytes");
  const output = {
    force: flags.force,
    signal: interrupt.signal,
    onProgress: (bytes: number) => bar.update(bytes, made.tensorBytes),
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
    expertCount: flags.expertCount ?? named.expertCount,
    usedExperts: flags.expertUsedCount ?? named.usedExperts,
    layerCount: flags.blockCount ?? named.layerCount,
    headCount: flags.headCount ?? named.headCount,
    kvHeadCount: flags.headCountKv ?? named.kvHeadCount,
    headSize: flags.keyLength ?? named.headSize,
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
