import { UsageError } from "../../../mod.ts";
import {
  checkProfile,
  mergeProfiles,
  type Profile,
  reorderNeurons,
  writeProfile,
} from "../../../plan.ts";
import { describeModel, type Model, readGguf } from "../../../gguf.ts";
import type { CommandSpec } from "../../command.ts";
import { Interrupt } from "../../interrupt.ts";
import { openModel } from "../../model_file.ts";
import {
  findProfile,
  profilePathOf,
  readProfileFile,
} from "../../model_profile.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import { countingOptions, modelOptions } from "../../options.ts";
import { openOutput } from "../../output_flags.ts";
import { countProfile } from "./counting.ts";
import { note, printable, ProgressBar } from "../../terminal.ts";

const options = {
  Profile: {
    file: {
      type: "strings",
      flag: "-f, --file <file>",
      description: "a text to run; - = standard input",
    },
    merge: {
      type: "strings",
      flag: "--merge <file...>",
      description: "add up profiles, and run no text",
    },
    reorder: {
      type: "string",
      flag: "--reorder <file>",
      description:
        "run no text, but write the model with its neurons in the order of its profile, which goes into the file",
    },
    output: {
      type: "string",
      defaultText: "MODEL.profile, which the other commands find",
      flag: "-o, --output <file>",
      description: "where the counts go",
    },
    profile: {
      type: "string",
      defaultText: "MODEL.profile",
      flag: "--profile <file>",
      description: "the profile for --reorder",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "replace a file that is there",
    },
  },
  Model: modelOptions,
  Running: countingOptions,
} as const satisfies FlagGroups;

type ProfileFlags = FlagsOfGroups<typeof options>;

/** Counts how often neurons fire. */
export const profile: CommandSpec = {
  name: "profile",
  summary:
    "count how often each neuron fires, so that generating reads the busy ones in one go",
  options,
  examples: [
    "culm profile -m model.gguf -f text.txt",
    "culm profile -m model.gguf --merge monday.profile tuesday.profile",
    "culm profile -m model.gguf --reorder ordered.gguf",
  ],
  run,
};

async function run(flags: ProfileFlags): Promise<number> {
  const { file, merge: parts, reorder: model } = flags;
  if ([file, parts, model].filter((flag) => flag !== undefined).length > 1) {
    throw new BadFlags(
      "Cannot do several things at once: give one of -f, --merge and --reorder",
    );
  }
  if (model !== undefined) {
    await reorder(flags, model);
    return 0;
  }
  const output = flags.output ?? profilePathOf(flags);
  if (output === undefined) {
    throw new BadFlags(
      "Cannot tell where the profile should go: give -o FILE, or -m with a local file",
    );
  }
  await (flags.merge ? merge : count)(flags, output);
  return 0;
}

async function merge(flags: ProfileFlags, output: string): Promise<void> {
  using file = await openOutput(output, flags, { made: "profile" });
  const profiles = await Promise.all(flags.merge!.map(readProfileFile));
  const sum = mergeProfiles(profiles.map(({ profile }) => profile));
  if (flags.model !== undefined) checkProfile(sum, await describe(flags));
  await file.write([await writeProfile({ profile: sum })]);
  noteWritten(sum, output);
}

async function reorder(flags: ProfileFlags, output: string): Promise<void> {
  using interrupt = new Interrupt();
  using reordered = await openOutput(output, flags);
  const source = await openModel(flags, interrupt.signal);
  try {
    const file = await readGguf(source);
    const model = describeModel(file, flags);
    const found = await findProfile(flags, () => model);
    if (!found) {
      throw new UsageError(
        "Cannot reorder without a profile: count one first (culm profile -f TEXT), or give --profile FILE",
      );
    }
    using bar = new ProgressBar("writing", "bytes");
    const chunks = reorderNeurons(source, file, model, found.profile);
    await reordered.write(chunks, {
      signal: interrupt.signal,
      onProgress: (written) => bar.update(written, file.size),
    });
    bar[Symbol.dispose]();
    noteWritten(found.profile, output);
  } finally {
    await source.close();
  }
}

async function count(flags: ProfileFlags, output: string): Promise<void> {
  noteWritten(await countProfile(flags, output, "profile"), output);
}

async function describe(flags: ProfileFlags): Promise<Model> {
  const source = await openModel(flags);
  try {
    return describeModel(await readGguf(source), flags);
  } finally {
    await source.close();
  }
}

function noteWritten({ tokens }: Profile, path: string): void {
  note(`wrote ${printable(path)}: ${tokens} tokens`);
}
