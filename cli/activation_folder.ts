/**
 * PowerInfer's profiles as folders: a file `activation_{i}.pt` for each layer.
 *
 * @module
 */
import {
  type Activation,
  activationFileLayer,
  type ByteSource,
  openFile,
  type Profile,
  readPowerInferProfile,
  UsageError,
} from "../mod.ts";

/** Whether a path is a folder. */
export async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(
    ({ isDirectory }) => isDirectory,
    (error) => {
      if (error instanceof Deno.errors.NotCapable) throw error;
      return false;
    },
  );
}

/**
 * Reads the profile of a folder.
 *
 * @throws {UsageError} where it has no such files, or some are missing
 * @throws {FormatError} where one is damaged
 */
export async function readActivationFolder(
  path: string,
  activation: Activation,
): Promise<Profile> {
  const sources: ByteSource[] = [];
  try {
    for await (const { name } of Deno.readDir(path)) {
      if (activationFileLayer(name) !== undefined) {
        sources.push(await openFile(`${path}/${name}`));
      }
    }
    if (sources.length === 0) {
      throw new UsageError(
        `Cannot read a profile in ${path}: it has no activation_0.pt`,
      );
    }
    return await readPowerInferProfile(sources, { activation });
  } finally {
    for (const source of sources) await source.close();
  }
}
