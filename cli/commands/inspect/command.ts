import type { CommandSpec } from "../../command.ts";
import { inspectFile } from "./inspection.ts";
import { toJson, toText } from "./text.ts";
import { openModel } from "../../model_file.ts";
import { group, option } from "../../option.ts";
import {
  cacheTypeOf,
  type LoadFlags,
  memoryOptions,
  modelOptions,
} from "../../options.ts";
import { write } from "../../terminal.ts";

interface InspectFlags extends LoadFlags {
  readonly json?: true;
  readonly tensors?: true;
}

/** Shows what a model file holds. */
export const inspect: CommandSpec = {
  name: "inspect",
  summary:
    "show what a model file holds and what it takes to run it; reads the header only",
  options: [
    ...modelOptions,
    ...memoryOptions,
    ...group(
      "Output",
      option("--tensors", "list every tensor"),
      option("--json", "print everything as JSON"),
    ),
  ],
  examples: [
    "culm inspect -m model.gguf -c 4096",
    "culm inspect -m model.gguf --json",
  ],
  run,
};

async function run(flags: InspectFlags): Promise<number> {
  const options = {
    contextSize: flags.ctxSize,
    threads: flags.threads ?? navigator.hardwareConcurrency,
    batchSize: flags.batchSize,
    cacheType: cacheTypeOf(flags),
  };
  const source = await openModel(flags);
  try {
    const inspection = await inspectFile(source, options, flags.activation);
    await write(
      flags.json
        ? toJson(inspection)
        : toText(inspection, flags.tensors ?? false),
    );
  } finally {
    await source.close();
  }
  return 0;
}
