/** Hashes that take bytes as they come: the system's, and by a library where there is none, as in browsers. */
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "./hex.ts";
import { nodeModule } from "./node_module.ts";

export interface RunningHash {
  update(bytes: Uint8Array): void;
  /** Ends it: the hash, in hexadecimal. */
  hex(): string;
}

const library = { sha1, sha256 };

export function startHash(algorithm: keyof typeof library): RunningHash {
  const hash = nodeModule("node:crypto")?.createHash(algorithm) ??
    library[algorithm].create();
  return {
    update: (bytes) => void hash.update(bytes),
    hex: () => toHex(hash.digest()),
  };
}
