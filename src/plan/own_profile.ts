/** The profile that a reordered file carries among its metadata (`reorder.ts` writes it). */
import { FormatError } from "../errors.ts";
import { getNumber, getNumbers, type GgufFile } from "../formats/gguf/read.ts";
import type { Model } from "../model/model.ts";
import type { Profile } from "./profile.ts";

/** Metadata keys; counts are `[layers · feedForwardSize]`, in the file's order. */
export const keys = {
  tokens: "culm.profile.tokens",
  gatePositive: "culm.profile.gate_positive",
  active: "culm.profile.active",
};

/**
 * The profile that a reordered file carries; `undefined` for other files.
 *
 * @throws {FormatError} where it does not fit the model
 */
export function profileOf(file: GgufFile, model: Model): Profile | undefined {
  const tokens = getNumber(file, keys.tokens);
  if (tokens === undefined) return undefined;
  const { layers, feedForwardSize } = model;
  const read = (key: string) => {
    const counts = getNumbers(file, key) ?? [];
    const expected = layers.length * feedForwardSize;
    const all = Uint32Array.from(counts);
    const wrong = all.findIndex((count, i) =>
      count !== counts[i] || count > tokens
    );
    if (counts.length !== expected || wrong >= 0) {
      throw new FormatError(
        `Cannot read metadata ${key}: needs ${expected} counts of at most ${tokens} tokens, ${
          wrong < 0 ? `has ${counts.length}` : `one is ${counts[wrong]}`
        }`,
      );
    }
    return layers.map((_, i) =>
      all.slice(i * feedForwardSize, (i + 1) * feedForwardSize)
    );
  };
  const gates = read(keys.gatePositive), active = read(keys.active);
  return {
    tokens,
    layers: active.map((active, i) => ({ gatePositive: gates[i], active })),
  };
}
