/**
 * PowerInfer's profiles as folders: a file `activation_{i}.pt` for each layer.
 *
 * @module
 */
import { type ByteSource, UsageError } from "../mod.ts";
import { type Activation, openFolder } from "../gguf.ts";
import {
  activationFileLayer,
  type Profile,
  readPowerInferProfile,
} from "../plan.ts";

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
  const folder = await openFolder(path);
  const sources: ByteSource[] = [];
  try {
    for (const file of folder.files) {
      if (activationFileLayer(file) !== undefined) {
        sources.push(await folder.open(file));
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
