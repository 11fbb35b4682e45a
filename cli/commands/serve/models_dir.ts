/** The models of a folder, by the names of their files. */
import { CulmError } from "../../../mod.ts";
import type { Catalogue, CatalogueEntry } from "../../../server.ts";
import { partNames } from "../../../src/bytes/parts.ts";
import { formatSystemError } from "../../format.ts";
import { checkModel, loadModel } from "../../model_file.ts";
import type { ServeFlags } from "./options.ts";

/**
 * The GGUF files of a folder, each under its name without the ending; a file in
 * parts is one.
 *
 * @throws {CulmError} where the folder cannot be read, or has none
 */
export async function modelsOfDir(
  dir: string,
  flags: ServeFlags,
): Promise<Catalogue> {
  const names = await fileNames(dir);
  const entries = names.flatMap((name) => {
    const parts = partNames(name) ?? [name];
    if (parts[0] !== name) return [];
    const id = name.replace(/(-00001-of-\d{5})?\.gguf$/i, "");
    const model = `${dir}/${name}`;
    const own = { ...flags, model };
    const bytes = parts.reduce(
      (sum, part) => sum + sizeOf(`${dir}/${part}`),
      0,
    );
    const entry: CatalogueEntry = {
      check: (signal) => checkModel(own, signal),
      load: (signal) => loadModel(own, { signal }),
      bytes,
    };
    return [[id, entry] as const];
  });
  if (entries.length > 0) return Object.fromEntries(entries);
  throw new CulmError(`Cannot serve ${dir}: it has no .gguf file`);
}

async function fileNames(dir: string): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(dir));
    return entries
      .filter(({ name, isDirectory }) => !isDirectory && /\.gguf$/i.test(name))
      .map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CulmError(
      `Cannot read ${dir}: ${formatSystemError(error as Error)}`,
    );
  }
}

/** Its bytes; 0 where it is not there, which loading it tells. */
function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return 0;
  }
}
