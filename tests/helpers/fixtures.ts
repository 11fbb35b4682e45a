/** Files of tests/fixtures; its README says where each is from. */

import { fileURLToPath } from "node:url";

const root = new URL("../fixtures/", import.meta.url);

/** The URL of a fixture. */
export function fixtureUrl(path: string): URL {
  return new URL(path, root);
}

/** The path of a fixture. */
export function fixturePath(path: string): string {
  return fileURLToPath(fixtureUrl(path));
}

/** A story for children, about 600 tokens. */
export function story(): string {
  return Deno.readTextFileSync(fixtureUrl("story.txt"));
}
