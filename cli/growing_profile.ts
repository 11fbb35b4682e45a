/**
 * The profile that generating makes where nobody has counted one: each run adds
 * its tokens, until there are enough of them.
 *
 * @module
 */
import { CulmError, type LanguageModel } from "../mod.ts";
import { gpuFor, mergeProfiles, type Profile, writeProfile } from "../plan.ts";
import { isSparse } from "../gguf.ts";
import { mayKeep } from "./beside_model.ts";
import { profilePathOf, readProfileFile } from "./model_profile.ts";
import type { RunGpuFlags } from "./gpu_options.ts";
import type { FlagGroups } from "./option.ts";
import { type LoadFlags, localModel } from "./options.ts";
import { exists, OutputFile } from "./output_file.ts";
import { note, printable } from "./terminal.ts";

/** Asks for such a profile: nothing is written beside a model unasked. */
export const growingOptions = {
  growProfile: {
    type: "boolean",
    flag: "--grow-profile",
    description:
      "count which neurons fire, and add that to the profile beside the model, which makes later runs faster",
  },
} as const satisfies FlagGroups[string];

/** What stands for the text in the progress of a profile that grows. */
export const growing = "generation";
/** Tokens at which a profile is finished. */
const enough = 4096;

/** A profile beside a model that this run adds to. */
export class GrowingProfile {
  private constructor(
    readonly path: string,
    /** Whether earlier runs began it */
    readonly isBegun: boolean,
  ) {}

  /**
   * The profile that a run with these flags adds to. None where nobody asks for
   * it, or it is finished; and with a note where the flags, or the sandbox, do
   * not let it grow.
   */
  static async of(
    flags: LoadFlags & RunGpuFlags & { readonly growProfile?: boolean },
  ): Promise<GrowingProfile | undefined> {
    if (!flags.growProfile) return;
    const path = profilePathOf(flags);
    const obstacle = path === undefined
      ? "the model is no local file"
      : flags.profile === false
      ? "--no-profile keeps the file's order"
      : flags.profile !== undefined
      ? "--profile names another"
      : flags.sparsity.mode === "predictor"
      ? "--sparsity predictor leaves out neurons that fire"
      : await usesGpu(flags)
      ? "a GPU takes part, which does not count"
      : !await mayKeep(path)
      ? "nothing may be written beside the model"
      : undefined;
    if (path === undefined || obstacle !== undefined) {
      note(`note: --grow-profile changes nothing: ${obstacle}`);
      return;
    }
    if (!await exists(path)) return new GrowingProfile(path, false);
    try {
      if (await grownSoFar(path)) return new GrowingProfile(path, true);
    } catch (error) {
      // Loading the model says that it cannot be used.
      if (!(error instanceof CulmError)) throw error;
    }
  }

  /** Adds what the model counted; says so, or why not. */
  async save({ model, profile: used, engine }: LanguageModel): Promise<void> {
    const { path, isBegun } = this;
    const counted = engine.profile();
    const hasItsOwn = used !== undefined && !isBegun;
    if (!isSparse(model.activation) || hasItsOwn || counted.tokens === 0) {
      return;
    }
    try {
      // By now other runs may have added to it, or somebody may have counted one.
      const isThere = await exists(path);
      using output = await OutputFile.open(path, { force: isThere });
      const earlier = isThere ? await grownSoFar(path) : undefined;
      if (isThere && !earlier) return;
      const profile = mergeProfiles(earlier ? [earlier, counted] : [counted]);
      const { tokens } = profile;
      const progress = tokens < enough
        ? { text: growing, position: tokens }
        : undefined;
      const bytes = await writeProfile({ profile, progress });
      await output.write([bytes]);
      note(`profile: ${tokens} tokens now, in ${printable(path)}`);
    } catch (error) {
      if (!(error instanceof CulmError)) throw error;
      note(`warning: ${printable(error.message)}`);
    }
  }
}

/** What generating has counted; nothing where the file is another profile. */
async function grownSoFar(path: string): Promise<Profile | undefined> {
  const { profile, progress } = await readProfileFile(path);
  return progress?.text === growing ? profile : undefined;
}

/** Whether a GPU will take part. */
async function usesGpu(flags: LoadFlags & RunGpuFlags): Promise<boolean> {
  if (flags.gpu !== "auto") return flags.gpu === "require";
  // Loading a model that cannot be read says so.
  const bytes = await bytesOf(localModel(flags)!).catch(() => 0);
  return await gpuFor(flags.gpu, bytes) !== undefined;
}

/** Bytes of a file, or of the files of a folder. */
async function bytesOf(path: string): Promise<number> {
  const { size, isDirectory } = await Deno.stat(path);
  if (!isDirectory) return size;
  let bytes = 0;
  for await (const { name, isFile } of Deno.readDir(path)) {
    if (isFile) bytes += (await Deno.stat(`${path}/${name}`)).size;
  }
  return bytes;
}
