/** A text as a vector: the model's states, pooled. */
import type { Engine } from "../engine/engine.ts";
import { UsageError } from "../errors.ts";
import { abortSignal, type Checked, type OptionsOf } from "../options.ts";

/** How states become one vector: at the numbers that `pooling_type` of a GGUF file has for them. */
export const poolings = [undefined, "mean", "cls", "last"] as const;

/** How states become one vector. */
export type Pooling = NonNullable<typeof poolings[number]>;

/** How a text is embedded. */
export const embedOptions = {
  /** The mean of the states of all tokens, or the state of the first (`cls`) or the last. */
  pooling: {
    enum: ["mean", "cls", "last"],
    defaultText: "the file's, or mean",
    description: "mean of all states, or that of the first (cls) or last token",
  },
  /** Scales the vector to length 1. */
  normalize: {
    type: "boolean",
    default: true,
    description: "scales the vector to length 1",
  },
  /** Keeps this many of the first numbers, for models that were trained for it (Matryoshka embeddings). */
  dimensions: {
    type: "integer",
    minimum: 1,
    defaultText: "all",
    description: "keeps this many of the first numbers",
  },
  /** Stops at the next step. */
  signal: { schema: abortSignal, description: "stops at the next step" },
} as const;

/** How a text is embedded. Everything may be left out. */
export type EmbedOptions = OptionsOf<typeof embedOptions>;

/**
 * The pooled states behind the output norm of `ids`, `[hiddenSize]`, or fewer
 * where `dimensions` says so.
 *
 * @throws {UsageError} for no ids, or more `dimensions` than there are
 * @throws {ContextError} where they do not fit the context
 */
export async function embed(
  engine: Engine,
  ids: readonly number[],
  hiddenSize: number,
  options: Checked<typeof embedOptions> & { readonly pooling: Pooling },
): Promise<Float32Array<ArrayBuffer>> {
  const { pooling, dimensions = hiddenSize, normalize, signal } = options;
  if (dimensions > hiddenSize) {
    throw new UsageError(
      `Cannot give ${dimensions} dimensions of an embedding: the model has ${hiddenSize}`,
    );
  }
  if (ids.length === 0) {
    throw new UsageError("Cannot embed: the text has no tokens");
  }
  using sequence = engine.createSequence();
  const sum = new Float64Array(hiddenSize);
  const { batchSize } = engine;
  for (let first = 0; first < ids.length; first += batchSize) {
    const step = ids.slice(first, first + batchSize);
    const isLast = first + step.length >= ids.length;
    // One by one in their order, so that the sum does not depend on steps.
    const want = pooling !== "last" ? "all" : isLast ? "last" : "none";
    const states = await engine.evaluateStates(sequence, step, want, signal);
    for (const state of states) {
      for (let i = 0; i < hiddenSize; i++) sum[i] += state[i];
      if (pooling === "cls") break;
    }
    if (pooling === "cls") break;
  }
  const kept = sum.subarray(0, dimensions);
  const scale = normalize
    ? 1 / (Math.hypot(...kept) || 1)
    : 1 / (pooling === "mean" ? ids.length : 1);
  return Float32Array.from(kept, (value) => value * scale);
}
