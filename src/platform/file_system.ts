/** The system's files. */
import type * as Files from "node:fs/promises";
import { UsageError } from "../errors.ts";

interface Process {
  getBuiltinModule?(name: "node:fs/promises"): typeof Files;
}

/**
 * Node's functions for files, which Deno and Bun have too. Bundlers for browsers
 * refuse to import them. `path` is what is to be opened.
 *
 * @throws {UsageError} where there are none, as in a browser
 */
export function fileSystem(path: string): typeof Files {
  const { process } = globalThis as { readonly process?: Process };
  const files = process?.getBuiltinModule?.("node:fs/promises");
  if (files) return files;
  throw new UsageError(`Cannot open ${path}: there are no files here`);
}
