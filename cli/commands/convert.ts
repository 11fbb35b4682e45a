import {
  convert as convertModel,
  type ConvertOptions,
  convertOptions,
  convertTypes,
} from "../../convert.ts";
import { isFolder, openFolder, toByteSource } from "../../gguf.ts";
import { isHubName, readHubName } from "../../src/hub/name.ts";
import { pathOf } from "../hub_model.ts";
import { Taken } from "../../src/platform/opened.ts";
import { namesOfParts } from "../../src/bytes/parts.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes } from "../format.ts";
import { Interrupt } from "../interrupt.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../option.ts";
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
      defaultText: "f16; with --bundle, each tensor's own",
      flag: "--type <type>",
      description: `${convertOptions.type.description}: ${types.join(", ")}`,
    },
    activation: convertOptions.activation,
    form: convertOptions.form,
    bundle: convertOptions.bundle,
    predictors: {
      ...convertOptions.predictors,
      schema: undefined,
      type: "string",
      flag: "--predictors <folder>",
    },
    allowRequantise: convertOptions.allowRequantise,
    splitMaxSize: {
      type: "string",
      flag: "--split-max-size <size>",
      description:
        "most bytes of tensors in a file, as 500M or 2G; the files are named as gguf-split names them: model-00001-of-00003.gguf",
      read: readSize,
    },
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

/** Bytes, as gguf-split reads them: of units of 1000. */
function readSize(text: string, name: string): number {
  const [, digits, unit = ""] = text.match(/^([1-9]\d*)([KMG]?)$/i) ?? [];
  const bytes = Number(digits) *
    1000 ** " KMG".indexOf(unit.toUpperCase() || " ");
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new BadFlags(
    `Cannot use ${name} ${text}: must be a number of bytes, or one with K, M or G behind it`,
  );
}

async function run(flags: ConvertFlags, given: string): Promise<number> {
  const path = isHubName(given) ? await pathOf(readHubName(given), {}) : given;
  using interrupt = new Interrupt();
  using outputs = new Taken();
  const { force, predictors, threads, splitMaxSize } = flags;
  const inputs = [path, ...predictors === undefined ? [] : [predictors]];
  const claim = async (file: string) =>
    outputs.use(
      await openCheckpointed("convert", flags.output, { force, inputs }, file),
    );
  // Before anything is read: how many there are is known behind the header.
  const whole = splitMaxSize === undefined
    ? await claim(flags.output)
    : undefined;
  const start = performance.now();
  const isDirectory = await isFolder(path);
  const { signal } = interrupt;
  const source = isDirectory ? undefined : await toByteSource(path, { signal });
  try {
    const file = await convertModel(source ?? await openFolder(path), {
      type: (flags.type ?? (flags.bundle ? undefined : "f16"))
        ?.toUpperCase() as ConvertOptions["type"],
      activation: flags.activation,
      form: flags.form,
      bundle: flags.bundle,
      threads,
      allowRequantise: flags.allowRequantise,
      predictors: predictors === undefined
        ? undefined
        : await openFolder(predictors),
    });
    try {
      for (const each of file.notes) note(`note: ${printable(each)}`);
      const files = splitMaxSize === undefined
        ? [file]
        : file.split(splitMaxSize);
      const prefix = flags.output.replace(/\.gguf$/, "");
      const names = files.length === 1
        ? [flags.output]
        : namesOfParts(prefix, files.length);
      const claimed = whole ? [whole] : [];
      if (!whole) { for (const name of names) claimed.push(await claim(name)); }
      const fingerprint = await file.fingerprint();
      using work = await CheckpointedFile.open(
        "convert",
        flags.output,
        claimed,
        files,
        whole ? fingerprint : `${fingerprint} ${splitMaxSize}`,
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
        `wrote ${printable(names.join(", "))}: ${
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
