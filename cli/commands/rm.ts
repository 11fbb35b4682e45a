import { CulmError } from "../../mod.ts";
import { chooseFiles } from "../../src/hub/choice.ts";
import { hubNameText, mainRevision } from "../../src/hub/name.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes } from "../format.ts";
import { hubName } from "../hub_model.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../option.ts";
import { hubOptions } from "../options.ts";
import { note, printable } from "../terminal.ts";
import { cacheHere } from "./list.ts";

const options = {
  Model: {
    hfFile: {
      ...hubOptions.hfFile,
      description: "which file, in place of QUANT",
    },
  },
} as const satisfies FlagGroups;

/** Removes models from the cache. */
export const rm: CommandSpec = {
  name: "rm",
  argument: "<OWNER/REPO[:QUANT]>",
  summary:
    "remove a model from the cache: all of a repository, or the files of one type",
  options,
  examples: [
    "culm rm ggml-org/gemma-3-1b-it-GGUF",
    "culm rm bartowski/Llama-3.2-3B-Instruct-GGUF:Q8_0",
  ],
  run,
};

async function run(
  flags: FlagsOfGroups<typeof options>,
  argument: string,
): Promise<number> {
  const name = hubName(argument, flags);
  if (name.revision !== mainRevision) {
    throw new BadFlags(
      `Cannot remove one revision, ${name.revision}: files go away in all`,
    );
  }
  const cache = await cacheHere();
  const there = (await cache.list()).find(({ repo }) => repo === name.repo);
  if (!there) {
    throw new CulmError(
      `Cannot remove ${hubNameText(name)}: it is not in ${cache.folder}`,
    );
  }
  const isAll = name.file === undefined && name.quant === undefined;
  const paths = there.snapshots.flatMap(({ files }) => [...files.keys()]);
  const freed = isAll
    ? await cache.removeRepository(name.repo)
    : await cache.removeFiles(name.repo, chooseFiles(paths, name).files);
  note(`removed ${printable(hubNameText(name))}: ${formatBytes(freed)}`);
  return 0;
}
