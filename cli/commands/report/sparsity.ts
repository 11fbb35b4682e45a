/**
 * How sparse a model is on a text, by layer and by position.
 *
 * @module
 */
import type { LanguageModel } from "../../../mod.ts";
import { type PlaceStats, statsSince } from "../../../lab.ts";
import type { Profile } from "../../../plan.ts";
import type { Windows } from "../profile/run.ts";

/** What a layer's neurons did for an average token. */
export interface LayerShares {
  /** Share of neurons whose gate was positive */
  readonly gatePositive: number;
  /** Share of neurons whose product was not zero */
  readonly active: number;
}

/** What happened at some positions of the windows. */
export interface Stretch {
  /** The first position, and the one after the last */
  readonly first: number;
  readonly end: number;
  readonly layers: readonly LayerShares[];
}

/** A text, counted. */
export interface TextSparsity {
  readonly tokens: number;
  readonly profile: Profile;
  /** From the first position on, each twice as long as the one before */
  readonly stretches: readonly Stretch[];
}

/** The end of the stretch in which a position lies: 1, 2, 4, 8, … */
function stretchEnd(position: number): number {
  return position === 0 ? 1 : 2 ** (Math.floor(Math.log2(position)) + 1);
}

/**
 * Runs windows one after another through a model that was loaded with
 * `countNeurons` and has run nothing yet.
 */
export async function countSparsity(
  { engine }: LanguageModel,
  windows: Windows,
  signal: AbortSignal,
  onProgress: (tokens: number) => void,
): Promise<TextSparsity> {
  const counted = new Map<number, PlaceStats[]>();
  let tokens = 0;
  for (const window of windows) {
    using sequence = engine.createSequence();
    for (let first = 0; first < window.length;) {
      const end = stretchEnd(first);
      const ids = window.slice(first, end);
      const before = engine.stats();
      await engine.evaluate(sequence, ids, "none", signal);
      const stats = statsSince(engine.stats(), before);
      counted.set(first, [...counted.get(first) ?? [], stats]);
      onProgress(tokens += ids.length);
      first = end;
    }
  }
  const longest = windows.reduce(
    (most, { length }) => Math.max(most, length),
    0,
  );
  return {
    tokens,
    profile: engine.profile(),
    stretches: [...counted].map(([first, stats]) => ({
      first,
      end: Math.min(stretchEnd(first), longest),
      layers: stats[0].layers.map((_, layer) => {
        const sum = (name: "neurons" | "gatePositive" | "active") =>
          stats.reduce((all, { layers }) => all + layers[layer][name], 0);
        return {
          gatePositive: sum("gatePositive") / sum("neurons"),
          active: sum("active") / sum("neurons"),
        };
      }),
    })),
  };
}

/** The same by layer alone, of any profile. */
export function sharesOf({ tokens, layers }: Profile): LayerShares[] {
  const share = (counts: Uint32Array) =>
    counts.reduce((sum, count) => sum + count, 0) /
    (counts.length * Math.max(1, tokens));
  return layers.map(({ gatePositive, active }) => ({
    gatePositive: share(gatePositive),
    active: share(active),
  }));
}
