/**
 * The profile that lies beside a model, `MODEL.profile`: found, read, reported.
 *
 * @module
 */
import { CulmError, type LanguageModel } from "../mod.ts";
import { checkProfile, type ProfileFile, readProfile } from "../plan.ts";
import { isFolder, isSparse, type Model, openFile } from "../gguf.ts";
import { readActivationFolder } from "./activation_folder.ts";
import { besideModel, isReadable } from "./beside_model.ts";
import type { LoadFlags, ModelFlags } from "./options.ts";
import { note, printable } from "./terminal.ts";

/** A profile, and where it was read. */
export interface FoundProfile extends ProfileFile {
  readonly path: string;
}

/** Where a model's profile lies; the embedded model and URLs have no such place. */
export function profilePathOf(flags: ModelFlags): string | undefined {
  return besideModel(flags, "profile");
}

/**
 * Reads a profile of culm's.
 *
 * @throws {CulmError} where there is none, or it is damaged
 */
export async function readProfileFile(path: string): Promise<FoundProfile> {
  const source = await openFile(path);
  try {
    return { path, ...await readProfile(source) };
  } finally {
    await source.close();
  }
}

/**
 * The profile that the flags name, or else the one beside the model. The
 * latter is left out, with a warning, where it cannot be used. `modelOf`
 * describes the model; without a profile nobody asks it.
 *
 * @throws {CulmError} where the one that is named cannot be read
 */
export async function findProfile(
  flags: ModelFlags & Pick<LoadFlags, "profile">,
  modelOf: () => Model | Promise<Model>,
): Promise<FoundProfile | undefined> {
  if (flags.profile === false) return undefined;
  if (flags.profile !== undefined) {
    const path = flags.profile;
    if (!await isFolder(path)) return await readProfileFile(path);
    const { activation } = await modelOf();
    return { path, profile: await readActivationFolder(path, activation) };
  }
  const path = profilePathOf(flags);
  if (!path || !await isReadable(path)) return undefined;
  try {
    const found = await readProfileFile(path);
    checkProfile(found.profile, await modelOf());
    return found;
  } catch (error) {
    if (!(error instanceof CulmError)) throw error;
    note(
      `warning: ${printable(error.message)}; going on without ${
        printable(path)
      }`,
    );
  }
}

/** Says which profile a model was loaded with, or how it would get one. */
export function noteProfile(
  { model, profile }: LanguageModel,
  flags: ModelFlags,
  found: FoundProfile | undefined,
  counting = false,
): void {
  if (profile) {
    const where = found ? `from ${printable(found.path)}` : "in the model file";
    note(`profile: ${profile.tokens} tokens, ${where}`);
  } else if (isSparse(model.activation) && profilePathOf(flags)) {
    note(
      counting
        ? "profile: none yet; what fires is counted, for the runs to come"
        : "profile: none; with one, which culm profile counts, generating is faster",
    );
  }
}
