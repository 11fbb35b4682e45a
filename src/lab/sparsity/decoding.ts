/** What is read for a token of a text that is written one after another. */
import type { Engine, SequenceOptions } from "../../engine/engine.ts";
import { bytesRead, statsSince, totalOf } from "../../places/stats.ts";

/** What was counted of some tokens. */
export interface Decoding {
  /** Tokens that were run */
  readonly tokens: number;
  /** Bytes of weights, keys and values that were read */
  readonly bytes: number;
  /** neurons · tokens; of experts, those of the chosen ones */
  readonly neurons: number;
  /** of these, how many rows or columns of down were used */
  readonly used: number;
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
  signal?: AbortSignal,
): Promise<Decoding> {
  using sequence = engine.createSequence(options);
  const before = engine.stats();
  for (const id of ids) {
    await engine.evaluate(sequence, [id], "last", signal);
  }
  const stats = statsSince(engine.stats(), before);
  return {
    tokens: stats.tokens,
    bytes: bytesRead(stats),
    neurons: totalOf(stats, "neurons"),
    used: totalOf(stats, "downRows"),
  };
}
