/**
 * Files that lie beside a model, which commands read and write unasked where the
 * sandbox lets them.
 *
 * @module
 */
import { localModel, type ModelFlags } from "./options.ts";
import { exists } from "./output_file.ts";

/** The file `MODEL.ending`; the embedded model and URLs have no such place. */
export function besideModel(
  flags: ModelFlags,
  ending: string,
): string | undefined {
  const model = localModel(flags);
  return model === undefined ? undefined : `${model}.${ending}`;
}

/** Whether there is a file that may be read. */
export async function isReadable(path: string): Promise<boolean> {
  return await permits("read", path) && await exists(path);
}

/** Whether a file may be read, and written as a whole. */
export async function mayKeep(path: string): Promise<boolean> {
  const permitted = await Promise.all(
    [path, `${path}.part`].flatMap((file) => [
      permits("read", file),
      permits("write", file),
    ]),
  );
  return permitted.every(Boolean);
}

/** Whether the sandbox lets us, without asking the user. */
export async function permits(
  name: "read" | "write",
  path: string,
): Promise<boolean> {
  return (await Deno.permissions.query({ name, path })).state === "granted";
}
