/**
 * Data that is not in the repository: public files that can be downloaded, and
 * the full-size files beside which tiny-bamboo was made.
 */
import { existsSync } from "node:fs";
import { needs, testNeeding } from "./needs.ts";

const root = new URL("../../../shared/", import.meta.url);

/** The URL of a file of the shared data. */
export function sharedUrl(path: string): URL {
  return new URL(path, root);
}

/** Whether a file or folder of the shared data is here. */
export function hasShared(path: string): boolean {
  return existsSync(sharedUrl(path));
}

/** Registers a test that is skipped where a public file that it reads is not here. */
export function testWithData(
  name: string,
  paths: readonly string[],
  run: (t: Deno.TestContext) => Promise<void>,
): void {
  const isHere = paths.every((path) => hasShared(`data/${path}`));
  testNeeding(needs.data, isHere, { name, fn: run });
}

/** The URL of a public file. */
export function dataUrl(path: string): URL {
  return sharedUrl(`data/${path}`);
}

/** Reads a JSON file of the shared data. */
export function sharedJson<T>(path: string): T {
  return JSON.parse(Deno.readTextFileSync(sharedUrl(path)));
}
