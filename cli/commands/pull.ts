import { CulmError } from "../../mod.ts";
import { HubCache } from "../../src/hub/cache.ts";
import { canKeep, type HubModel, resolve } from "../../src/hub/pull.ts";
import { hubSettings } from "../../src/hub/settings.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes, formatTable } from "../format.ts";
import {
  fetchModel,
  hubFlags,
  hubName,
  inspectOnHub,
  warn,
} from "../hub_model.ts";
import { Interrupt } from "../interrupt.ts";
import type { FlagGroups, FlagsOfGroups } from "../option.ts";
import { hubOptions } from "../options.ts";
import { note, printable, write } from "../terminal.ts";
import type { Inspection } from "./inspect/inspection.ts";
import { speedText } from "./plan/speed.ts";

const { hfFile, revision, offline } = hubOptions;

const options = {
  Model: {
    hfFile: { ...hfFile, description: "which file, in place of QUANT" },
    revision,
    offline,
  },
  Fetching: {
    dryRun: {
      type: "boolean",
      flag: "--dry-run",
      description:
        "say what would be fetched, whether it runs here, and how fast",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "fetch also what does not run here",
    },
  },
} as const satisfies FlagGroups;

type PullFlags = FlagsOfGroups<typeof options>;

/** Fetches models of the hub. */
export const pull: CommandSpec = {
  name: "pull",
  argument: "<OWNER/REPO[:QUANT]>",
  summary:
    "fetch a model of the Hugging Face hub into the cache, and print its path there",
  options,
  examples: [
    "culm pull ggml-org/gemma-3-1b-it-GGUF",
    "culm pull bartowski/Llama-3.2-3B-Instruct-GGUF:Q8_0 --dry-run",
  ],
  run,
};

async function run(flags: PullFlags, argument: string): Promise<number> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const name = hubName(argument, flags);
  const settings = await hubSettings({ offline: flags.offline });
  if (!flags.dryRun && !canKeep(settings)) {
    throw new CulmError(
      `Cannot keep models: where the cache is, the sandbox does not say, or it may not be read and written; run culm with ${hubFlags}`,
    );
  }
  const found = await resolve(name, settings, { signal, onWarning: warn });
  if (typeof found === "string") {
    await write(`${found}\n`);
    return 0;
  }
  const inspection = await inspectOnHub(found, settings, signal);
  const { obstacle } = inspection;
  if (flags.dryRun) {
    await write(await dryText(found, inspection, settings.cache));
    return 0;
  }
  if (obstacle !== undefined && !flags.force) {
    throw new CulmError(`${obstacle}; --force fetches it all the same`);
  }
  const speed = await speedText(inspection);
  if (speed !== undefined) note(`runs here: ${speed}`);
  const path = await fetchModel(found, settings as Kept, signal);
  await write(`${path}\n`);
  return 0;
}

type Kept = Parameters<typeof fetchModel>[1];

/** What would be fetched, and what the header says of it. */
async function dryText(
  { name, commit, files }: HubModel,
  inspection: Partial<Inspection>,
  folder: string | undefined,
): Promise<string> {
  const { obstacle, memory } = inspection;
  const cache = folder === undefined ? undefined : new HubCache(folder);
  const rows: string[][] = [
    ["model", printable(name.repo)],
    ["revision", `${printable(name.revision)}, commit ${commit}`],
  ];
  let missing = 0;
  for (const file of files) {
    const isThere = await cache?.has(name.repo, commit, file) ?? false;
    if (!isThere) missing += file.size;
    rows.push([
      "file",
      `${printable(file.path)}, ${formatBytes(file.size)}${
        isThere ? ", which is there" : ""
      }`,
    ]);
  }
  rows.push(
    [
      "to fetch",
      `${formatBytes(missing)}, into ${printable(folder ?? "no cache")}`,
    ],
    [
      "runs here",
      obstacle === undefined ? "yes" : `no: ${printable(obstacle)}`,
    ],
  );
  if (memory) {
    const { weights, kvCache, scratch, contextSize } = memory;
    rows.push(
      [
        "memory",
        `${
          formatBytes(weights + kvCache + scratch)
        }, with a context of ${contextSize}`,
      ],
    );
  }
  const speed = await speedText(inspection);
  if (speed !== undefined) rows.push(["speed", speed]);
  return formatTable(rows);
}
