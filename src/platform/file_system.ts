/** The system's files, and hashes of them. */
import type * as Crypto from "node:crypto";
import type * as Files from "node:fs/promises";
import { UsageError } from "../errors.ts";

/** Modules of Node, which Deno and Bun have too. */
interface Modules {
  readonly "node:crypto": typeof Crypto;
  readonly "node:fs/promises": typeof Files;
}

interface Process {
  getBuiltinModule?<Name extends keyof Modules>(name: Name): Modules[Name];
}

/** A module that bundlers for browsers refuse to import; none in a browser. */
function moduleOf<Name extends keyof Modules>(
  name: Name,
): Modules[Name] | undefined {
  const { process } = globalThis as { readonly process?: Process };
  return process?.getBuiltinModule?.(name);
}

/**
 * Functions for files. `path` is what is to be opened.
 *
 * @throws {UsageError} where there are none, as in a browser
 */
export function fileSystem(path: string): typeof Files {
  const files = moduleOf("node:fs/promises");
  if (files) return files;
  throw new UsageError(`Cannot open ${path}: there are no files here`);
}

/** A hash that takes bytes as they come; only where there are files. */
export function startHash(algorithm: "sha1" | "sha256"): Crypto.Hash {
  return moduleOf("node:crypto")!.createHash(algorithm);
}
