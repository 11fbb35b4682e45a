/**
 * Cutting texts into windows, and counting how often neurons fire over them.
 *
 * @module
 */
import { sha256 } from "../../../src/bytes/sha256.ts";
import type { Engine, Tokenizer } from "../../../mod.ts";
import { mergeProfiles, type Profile } from "../../../plan.ts";

/** A text as a model is given it: stretches that each begin with an empty context. */
export type Windows = readonly (readonly number[])[];

/** Cuts texts into windows of `size` tokens, each of which begins as a text begins. */
export function windowsOf(
  tokenizer: Tokenizer,
  texts: readonly string[],
  size: number,
): Windows {
  const { addBos, bos } = tokenizer;
  const begin = addBos && bos !== undefined ? [bos] : [];
  const step = Math.max(1, size - begin.length);
  return texts.flatMap((text) => {
    const ids = tokenizer.encode(text, { addSpecial: false });
    return Array.from(
      { length: Math.ceil(ids.length / step) },
      (_, i) => [...begin, ...ids.slice(i * step, (i + 1) * step)],
    );
  });
}

/** Tokens of all windows. */
export function lengthOf(windows: Windows): number {
  return windows.reduce((sum, { length }) => sum + length, 0);
}

/** The windows up to `most` tokens, the last of them cut. */
export function firstTokens(windows: Windows, most: number): Windows {
  let left = most;
  return windows.flatMap((ids) => {
    const kept = ids.slice(0, left);
    left -= kept.length;
    return kept.length > 0 ? [kept] : [];
  });
}

/** SHA-256 of the windows' lengths and ids, by which a text is known again. */
export async function hashOf(windows: Windows): Promise<string> {
  const ids = Int32Array.from(windows.flatMap((ids) => [ids.length, ...ids]));
  return await sha256(ids);
}

/** How far a text has been counted. */
export interface Counted {
  readonly profile: Profile;
  /** Tokens of the text that were counted */
  readonly position: number;
}

/**
 * Counts the windows that `before` has not counted yet. Gives the state after
 * each: windows are counted whole, so work that was stopped between two of them
 * and taken up again gives the same counts.
 */
export async function* countWindows(
  engine: Engine,
  windows: Windows,
  before: Counted | undefined,
  signal: AbortSignal,
): AsyncGenerator<Counted, void, void> {
  const earlier = before ? [before.profile] : [];
  let position = 0;
  for (const window of windows) {
    position += window.length;
    if (before && position <= before.position) continue;
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, window, "none", signal);
    yield { profile: mergeProfiles([...earlier, engine.profile()]), position };
  }
}
