import type { CommandSpec } from "../../command.ts";
import { readGpuIndex } from "../../../plan.ts";
import { indexJson, indexText } from "./gpu_index.ts";
import { inspectFile } from "./inspection.ts";
import { toJson, toText } from "./text.ts";
import { speedText } from "../plan/speed.ts";
import { openModel } from "../../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import {
  cacheTypeOf,
  jsonFlag,
  memoryOptions,
  modelOptions,
} from "../../options.ts";
import { write } from "../../terminal.ts";

const options = {
  Model: modelOptions,
  Running: memoryOptions,
  Output: {
    tensors: {
      type: "boolean",
      flag: "--tensors",
      description: "list every tensor",
    },
    json: jsonFlag,
  },
} as const satisfies FlagGroups;

type InspectFlags = FlagsOfGroups<typeof options>;

/** Shows what a model file holds. */
export const inspect: CommandSpec = {
  name: "inspect",
  summary:
    "show what a model file holds and what it takes to run it, by its header alone; or what an index of a GPU's neurons holds",
  options,
  readsHeader: () => true,
  examples: [
    "culm inspect -m model.gguf -c 4096",
    "culm inspect -m model.gguf --json",
    "culm inspect -hf ggml-org/gemma-3-1b-it-GGUF",
  ],
  run,
};

async function run(flags: InspectFlags): Promise<number> {
  const settings = {
    contextSize: flags.contextSize,
    threads: flags.threads ?? navigator.hardwareConcurrency,
    batchSize: flags.batchSize,
    cacheType: cacheTypeOf(flags),
  };
  const source = await openModel(flags);
  try {
    if (source.name.endsWith(".gpuidx")) {
      const index = await readGpuIndex(source);
      await write(flags.json ? indexJson(index) : indexText(source, index));
      return 0;
    }
    const inspection = await inspectFile(source, settings, flags.activation);
    const speed = flags.hfRepo === undefined
      ? undefined
      : await speedText(inspection);
    await write(
      flags.json
        ? toJson({ ...inspection, speed })
        : toText({ ...inspection, speed }, flags.tensors ?? false),
    );
  } finally {
    await source.close();
  }
  return 0;
}
