import {
  convert as convertModel,
  type ConvertOptions,
  convertOptions,
  convertTypes,
} from "../../convert.ts";
import { isFolder, openFolder, toByteSource } from "../../gguf.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes } from "../format.ts";
import { Interrupt } from "../interrupt.ts";
import type { FlagGroups, FlagsOfGroups } from "../option.ts";
import { note, printable, ProgressBar } from "../terminal.ts";
import { CheckpointedFile, openCheckpointed } from "../checkpoint_file.ts";

const types = convertTypes.map((type) => type.toLowerCase());

const options = {
  File: {
    output: {
      type: "string",
      required: true,
      flag: "-o, --output <file>",
      description: "where to write it",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description:
        "replace a file that is there, and give up other unfinished work",
    },
    type: {
      enum: types,
      default: "f16",
      flag: "--type <type>",
      description: `${convertOptions.type.description}: ${types.join(", ")}`,
    },
    form: convertOptions.form,
    predictors: {
      ...convertOptions.predictors,
      schema: undefined,
      type: "string",
      flag: "--predictors <folder>",
    },
    allowRequantise: convertOptions.allowRequantise,
  },
  Running: { threads: convertOptions.threads },
} as const satisfies FlagGroups;

type ConvertFlags = FlagsOfGroups<typeof options>;

/** Makes GGUF files of Hugging Face folders and of other GGUF files. */
export const convert: CommandSpec = {
  name: "convert",
  argument: "<source>",
  summary:
    "make a GGUF or PowerInfer file of a Hugging Face folder, or of another such file",
  options,
  examples: [
    "culm convert Bamboo-base-v0_1 -o bamboo-7b.gguf --type q4_0",
    "culm convert Bamboo-base-v0_1 -o bamboo-7b.powerinfer.gguf --predictors Bamboo-predictors",
    "culm convert model-f16.gguf -o model-q4_k_m.gguf --type q4_k_m",
  ],
  run,
};

async function run(flags: ConvertFlags, path: string): Promise<number> {
  using interrupt = new Interrupt();
  const { force, predictors, threads } = flags;
  using output = await openCheckpointed("convert", flags.output, {
    force,
    inputs: [path, ...predictors === undefined ? [] : [predictors]],
  });
  const start = performance.now();
  const isDirectory = await isFolder(path);
  const { signal } = interrupt;
  const source = isDirectory ? undefined : await toByteSource(path, { signal });
  try {
    const file = await convertModel(source ?? await openFolder(path), {
      type: flags.type.toUpperCase() as ConvertOptions["type"],
      form: flags.form,
      threads,
      allowRequantise: flags.allowRequantise,
      predictors: predictors === undefined
        ? undefined
        : await openFolder(predictors),
    });
    try {
      for (const each of file.notes) note(`note: ${printable(each)}`);
      using work = await CheckpointedFile.open(
        "convert",
        output,
        file,
        await file.fingerprint(),
        { force, signal },
      );
      using bar = new ProgressBar("writing", "bytes", work.written);
      const written = await work.finish({
        signal,
        onProgress: (bytes) => bar.update(bytes, file.tensorBytes),
      });
      bar[Symbol.dispose]();
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      note(
        `wrote ${printable(flags.output)}: ${
          formatBytes(written)
        } in ${seconds} s`,
      );
      return 0;
    } finally {
      await file.close();
    }
  } finally {
    await source?.close();
  }
}
