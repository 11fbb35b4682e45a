/** Folders for one test each, away when it ends. */

import { tinyBamboo } from "../../tiny/tiny.ts";

/** A folder that goes away when it is disposed of. */
export interface TempFolder extends AsyncDisposable {
  readonly path: string;
}

/** An empty folder. */
export async function tempFolder(): Promise<TempFolder> {
  const path = await Deno.makeTempDir();
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A folder with tiny-bamboo in it, `tiny.gguf`. */
export async function tinyFolder(): Promise<TempFolder> {
  const folder = await tempFolder();
  const source = tinyBamboo();
  await Deno.writeFile(
    `${folder.path}/tiny.gguf`,
    await source.read(0, source.size),
  );
  return folder;
}

/** Works in an empty folder. */
export async function inFolder(
  work: (folder: string) => Promise<void>,
): Promise<void> {
  await using folder = await tempFolder();
  await work(folder.path);
}

/** The names of what is in a folder, sorted. */
export async function namesIn(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path), ({ name }) => name)).sort();
}
