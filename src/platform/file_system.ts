/** The system's files. */
import type * as Files from "node:fs/promises";
import { UsageError } from "../errors.ts";
import { nodeModule } from "./node_module.ts";

/**
 * Functions for files. `path` is what is to be opened.
 *
 * @throws {UsageError} where there are none, as in a browser
 */
export function fileSystem(path: string): typeof Files {
  const files = nodeModule("node:fs/promises");
  if (files) return files;
  throw new UsageError(`Cannot open ${path}: there are no files here`);
}
