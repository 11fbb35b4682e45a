// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { CulmError, UsageError } from "../../../mod.ts";
import { activationCdf, type Profile, profileOf } from "../../../plan.ts";
import { describeModel, isFolder, readGguf } from "../../../gguf.ts";
import { readActivationFolder } from "../../activation_folder.ts";
import {
  type CdfReport,
  cdfReport,
  toJson,
  toPicture,
  toSvg,
  toTable,
} from "./output.ts";
import type { CommandSpec } from "../../command.ts";

import { openModel } from "../../model_file.ts";
import { findProfile, readProfileFile } from "../../model_profile.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import {
  countingOptions,
  hubOptions,
  jsonFlag,
  modelOptions,
} from "../../options.ts";
import { exists } from "../../output_file.ts";
import { openIfGiven } from "../../output_flags.ts";
import { countProfile } from "../profile/counting.ts";
import { writeDrawing } from "../../svg.ts";
import { printable, write } from "../../terminal.ts";
import { sha256, stateOptions, statePathOf } from "../../checkpoint.ts";

const options = {
  Distribution: {
    model: {
      ...modelOptions.model,
      type: "strings",
      description:
        "a model, with the profile beside or in it, or with a text to count",
    },
    ...hubOptions,
    profile: {
      type: "strings",
      flag: "--profile <file>",
      description:
        "what culm profile counted, or a folder of PowerInfer's activation_{i}.pt",
    },
    file: {
      type: "strings",
      flag: "-f, --file <file>",
      description: "a text to count with each model; - = standard input",
    },
    svg: {
      type: "string",
      flag: "--svg <file>",
      description:
        "draw one line a layer, one chart a model; as PDF where the name ends in .pdf",
    },
    json: jsonFlag,
    ...stateOptions("cdf"),
  },
  Running: countingOptions,
} as const satisfies FlagGroups;

type CdfFlags = FlagsOfGroups<typeof options>;

/** Shows how activations are spread over neurons. */
export const cdf: CommandSpec = {
  name: "cdf",
  summary:
    "show what share of all activations the hottest neurons take, by layer, for models side by side",
  options,
  examples: [
    "culm cdf -m model.gguf -f text.txt --svg cdf.svg",
    "culm cdf --profile model.gguf.profile --profile activation",
  ],
  run,
};

async function run(flags: CdfFlags): Promise<number> {
  const { model = [], profile = [], file, json, svg, state } = flags;
  if (file && profile.length > 0 && model.length === 0) {
    throw new BadFlags("Cannot count a text without a model: -f needs -m");
  }
  if (state !== undefined && (model.length > 1 || !file && model.length > 0)) {
    throw new BadFlags(
      "Cannot keep unfinished counts: --state is for one model and a text (-f)",
    );
  }
  using picture = await openIfGiven(svg, flags);
  const reports: CdfReport[] = [];
  for (const path of profile) reports.push(await readAny(path));
  const none = model.length === 0 && profile.length === 0;
  for (const path of none ? [undefined] : model) {
    const counted = file || path === undefined
      ? await countAnew(flags, path)
      : await findCounted(flags, path);
    reports.push(cdfReport(nameOf(path ?? "tiny-bamboo"), counted));
  }
  await write(json ? toJson(reports) : toPicture(reports) + toTable(reports));
  if (picture) await writeDrawing(picture, await toSvg(reports));
  return 0;
}

function nameOf(path: string): string {
  return printable(basename(path));
}

async function readAny(path: string): Promise<CdfReport> {
  if (!await isFolder(path)) {
    return cdfReport(nameOf(path), (await readProfileFile(path)).profile);
  }
  // The activation would tell how often gates were positive, which is not shown.
  const profile = await readActivationFolder(path, "drelu");
  return { name: nameOf(path), cdfs: activationCdf(profile) };
}

/** The profile beside a model, or in it. */
async function findCounted(flags: CdfFlags, path: string): Promise<Profile> {
  const one = { ...flags, model: path, profile: undefined };
  const source = await openModel(one);
  try {
    const file = await readGguf(source);
    const model = describeModel(file, one);
    const found = await findProfile(one, () => model);
    const profile = found?.profile ?? profileOf(file, model);
    if (profile) return profile;
  } finally {
    await source.close();
  }
  throw new UsageError(
    `Cannot tell how often neurons of ${path} fire: nobody has counted; give -f TEXT`,
  );
}

/** @throws {CulmError} where something else lies where unfinished counts go: those are removed in the end */
async function checkOwn(state: string): Promise<void> {
  if (!await exists(state)) return;
  const there = await readProfileFile(state).catch((error) => {
    if (!(error instanceof CulmError)) throw error;
  });
  if (there?.progress) return;
  throw new UsageError(
    `Cannot keep unfinished work in ${state}: it is there already, and is no unfinished count`,
  );
}

/**
 * Counts the texts, and leaves no profile behind; work that is stopped lies
 * beside the model until it is taken up again.
 */
async function countAnew(
  flags: CdfFlags,
  model: string | undefined,
): Promise<Profile> {
  const one = { ...flags, model, profile: undefined };
  const { file, contextSize, activation } = flags;
  const work = await sha256(JSON.stringify([file, contextSize, activation]));
  const state = await statePathOf("cdf", one, work);
  if (state !== undefined) await checkOwn(state);
  const profile = await countProfile(one, state, "count activations");
  if (state !== undefined && await exists(state)) await Deno.remove(state);
  return profile;
}
