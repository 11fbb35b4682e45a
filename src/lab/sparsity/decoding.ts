/** What is read for a token of a text that is written one after another. */
import type { Engine, SequenceOptions } from "../../engine/engine.ts";
import { bytesRead, statsSince, totalOf } from "../../places/stats.ts";

import type { RunOptions } from "./divergence.ts";

/** What was counted of some tokens. */
export interface Decoding {
  /** Tokens that were run */
  readonly tokens: number;
  /** Bytes of weights, keys and values that were read */
  readonly bytes: number;
  /** neurons · tokens; of experts, those of the chosen ones */
  readonly neurons: number;
  /** of these, those whose row of down was read: all, where down has columns in their place */
  readonly downRows: number;
}

/**
 * Runs tokens as decoding does, each by itself, from an empty context and with
 * its logits, in an engine that runs nothing else meanwhile.
 *
 * @throws {LimitError} where there are more tokens than the context has
 * @throws {PlaceError} where a place died
 */
export async function countDecoding(
  engine: Engine,
  ids: readonly number[],
  options: SequenceOptions = {},
  { signal, onTokens }: RunOptions = {},
): Promise<Decoding> {
  using sequence = engine.createSequence(options);
  const before = engine.stats();
  for (const id of ids) {
    await engine.evaluate(sequence, [id], "last", signal);
    onTokens?.(1);
  }
  const stats = statsSince(engine.stats(), before);
  return {
    tokens: stats.tokens,
    bytes: bytesRead(stats),
    neurons: totalOf(stats, "neurons"),
    downRows: totalOf(stats, "downRows"),
  };
}
