import {
  convert as convertModel,
  type ConvertOptions,
  convertTypes,
  isFolder,
  openFolder,
  toByteSource,
} from "../../mod.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes, formatLeft } from "../format.ts";
import { Interrupt } from "../interrupt.ts";
import { group, option } from "../option.ts";
import { threads } from "../options.ts";
import { note, printable, ProgressBar } from "../terminal.ts";
import { CheckpointedFile, openCheckpointed } from "../checkpoint_file.ts";
import { oneOf } from "../values.ts";

interface ConvertFlags {
  readonly output: string;
  readonly type: string;
  readonly form?: ConvertOptions["form"];
  readonly predictors?: string;
  readonly force?: true;
  readonly threads?: number;
}

/** Makes GGUF files of Hugging Face folders and of other GGUF files. */
export const convert: CommandSpec = {
  name: "convert",
  argument: "<source>",
  summary:
    "make a GGUF or PowerInfer file of a Hugging Face folder, or of another such file",
  options: group(
    "File",
    option("-o, --output <file>", "where to write it").makeOptionMandatory(),
    option(
      "--force",
      "replace a file that is there, and give up other unfinished work",
    ),
    option(
      "--type <type>",
      `type of the matrices, as llama.cpp chooses it for each: ${
        convertTypes.join(", ").toLowerCase()
      }`,
      oneOf(...convertTypes.map((type) => type.toLowerCase())),
      "f16",
    ),
    option(
      "--form <form>",
      "llama (dense, for llama.cpp) or powerinfer (ffn_down_t); default: the source's",
      oneOf("llama", "powerinfer"),
    ),
    option(
      "--predictors <folder>",
      "PowerInfer's predictors, model_0.pt and so on; the form is powerinfer",
    ),
    threads,
  ),
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
  const source = isDirectory ? undefined : await toByteSource(path);
  try {
    const file = await convertModel(source ?? await openFolder(path), {
      type: flags.type.toUpperCase() as ConvertOptions["type"],
      form: flags.form,
      threads,
      predictors: predictors === undefined
        ? undefined
        : await openFolder(predictors),
    });
    try {
      for (const each of file.notes) note(`note: ${printable(each)}`);
      const { signal } = interrupt;
      using work = await CheckpointedFile.open(
        "convert",
        output,
        file,
        await file.fingerprint(),
        { force, signal },
      );
      using bar = new ProgressBar("writing");
      const before = work.written;
      const written = await work.finish({
        signal,
        onProgress: (bytes) =>
          bar.update(
            bytes,
            file.tensorBytes,
            `${formatBytes(bytes)} of ${formatBytes(file.tensorBytes)}, ${
              formatLeft(start, bytes - before, file.tensorBytes - bytes)
            }`,
          ),
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
