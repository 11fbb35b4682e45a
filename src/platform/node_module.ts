/** Modules of Node, which Deno and Bun have too. */
import type * as Crypto from "node:crypto";
import type * as SyncFiles from "node:fs";
import type * as Files from "node:fs/promises";
import type * as Threads from "node:worker_threads";

interface Modules {
  readonly "node:crypto": typeof Crypto;
  readonly "node:fs": typeof SyncFiles;
  readonly "node:fs/promises": typeof Files;
  readonly "node:worker_threads": typeof Threads;
}

interface Process {
  getBuiltinModule?<Name extends keyof Modules>(name: Name): Modules[Name];
}

/** A module that bundlers for browsers refuse to import; none in a browser. */
export function nodeModule<Name extends keyof Modules>(
  name: Name,
): Modules[Name] | undefined {
  const { process } = globalThis as { readonly process?: Process };
  return process?.getBuiltinModule?.(name);
}
