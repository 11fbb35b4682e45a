import { existsSync } from "node:fs";

const folder = new URL("../../../../shared/tiny-bamboo/gguf/", import.meta.url);

/** Tests that need the model files are skipped where `../shared` is absent. */
export const hasTinyBamboo: boolean = existsSync(folder);

/** Where a file of ../shared/tiny-bamboo/gguf lies. */
export function tinyBambooUrl(file: string): URL {
  return new URL(file, folder);
}
