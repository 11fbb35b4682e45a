/**
 * Which neurons are live, and which experts are chosen, token after token, as
 * sums that several texts add up to.
 */
import type { Engine } from "../../engine/engine.ts";
import type { Model } from "../../model/model.ts";
import type { RunOptions } from "./divergence.ts";
import { UnionCounter, unionWindows } from "./union.ts";

/** What the tokens of some texts had in one layer. */
export interface LayerActivity {
  /** How many tokens had so many live neurons, ascending */
  readonly live: readonly (readonly [neurons: number, tokens: number])[];
  /** By {@linkcode unionSizes}: live neurons of a window, added over all windows */
  readonly union: readonly number[];
  /** For how many tokens each expert was chosen; empty where there is no router */
  readonly experts: readonly number[];
  /** As `union`, of experts */
  readonly expertUnion: readonly number[];
}

/** What was counted of some texts, in whole numbers. */
export interface NeuronActivity {
  /** Tokens of all texts */
  readonly tokens: number;
  /** Neurons of a layer, those of all experts */
  readonly neurons: number;
  /** By {@linkcode unionSizes}: windows of so many consecutive tokens */
  readonly windows: readonly number[];
  /** First to last */
  readonly layers: readonly LayerActivity[];
}

/**
 * Runs a text from an empty context, a token a step, in an engine that was
 * loaded with `countNeurons` and runs nothing else meanwhile. A neuron is live
 * where its product h is not zero.
 *
 * @throws {UsageError} where the model was loaded without `countNeurons`
 * @throws {LimitError} where the text is longer than the context
 * @throws {PlaceError} where a place died
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { countActivity, unionShares } from "@culm/culm/lab";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo(), { countNeurons: true });
 * const ids = model.tokenize("Once upon a time there was a small house.");
 * const activity = await countActivity(model.engine, model.model, ids);
 * console.log(unionShares(activity)[0]); // of the first layer, in 1, 2, 4, … tokens
 * ```
 */
export async function countActivity(
  engine: Engine,
  { layers, feedForwardSize, routing, expertCount }: Model,
  ids: readonly number[],
  { signal, onTokens }: RunOptions = {},
): Promise<NeuronActivity> {
  const unions = layers.map(() => new UnionCounter(feedForwardSize));
  const ofExperts = layers.map(() =>
    new UnionCounter(routing ? expertCount : 0)
  );
  const live = layers.map(() => new Map<number, number>());
  const countsNow = () => ({
    neurons: engine.profile().layers,
    experts: engine.expertCounts(),
  });
  const start = countsNow();
  let before = start;
  using sequence = engine.createSequence();
  for (const id of ids) {
    await engine.evaluate(sequence, [id], "none", signal);
    const now = countsNow();
    layers.forEach((_, layer) => {
      const was = before.neurons[layer].active, is = now.neurons[layer].active;
      const count = unions[layer].add((neuron) => is[neuron] > was[neuron]);
      live[layer].set(count, (live[layer].get(count) ?? 0) + 1);
      ofExperts[layer].add((expert) =>
        now.experts[layer][expert] > before.experts[layer][expert]
      );
    });
    before = now;
    onTokens?.(1);
  }
  return {
    tokens: ids.length,
    neurons: feedForwardSize,
    windows: unionWindows(ids.length),
    layers: layers.map((_, layer) => ({
      live: ascending(live[layer]),
      union: unions[layer].sums,
      experts: Array.from(
        before.experts[layer],
        (count, expert) => count - start.experts[layer][expert],
      ),
      expertUnion: ofExperts[layer].sums,
    })),
  };
}

/** Adds what was counted of several texts. */
export function sumActivities(
  parts: readonly NeuronActivity[],
): NeuronActivity {
  const [first] = parts;
  const add = (listOf: (part: NeuronActivity) => readonly number[]) =>
    listOf(first).map((_, i) =>
      parts.reduce((sum, part) => sum + listOf(part)[i], 0)
    );
  return {
    tokens: parts.reduce((sum, { tokens }) => sum + tokens, 0),
    neurons: first.neurons,
    windows: add(({ windows }) => windows),
    layers: first.layers.map((_, layer) => {
      const live = new Map<number, number>();
      for (const { layers } of parts) {
        for (const [neurons, tokens] of layers[layer].live) {
          live.set(neurons, (live.get(neurons) ?? 0) + tokens);
        }
      }
      return {
        live: ascending(live),
        union: add(({ layers }) => layers[layer].union),
        experts: add(({ layers }) => layers[layer].experts),
        expertUnion: add(({ layers }) => layers[layer].expertUnion),
      };
    }),
  };
}

function ascending(counts: ReadonlyMap<number, number>): [number, number][] {
  return [...counts].sort(([a], [b]) => a - b);
}

/** By layer and {@linkcode unionSizes}: the share of neurons that are live in at least one of so many consecutive tokens, for an average window; NaN where no text was as long. */
export function unionShares(
  { layers, windows, neurons }: NeuronActivity,
): number[][] {
  return layers.map(({ union }) =>
    union.map((sum, i) => sum / (windows[i] * neurons))
  );
}

/** The same of experts; empty where there are none. */
export function expertUnionShares(
  { layers, windows }: NeuronActivity,
): number[][] {
  return layers.filter(({ experts }) => experts.length > 0)
    .map(({ expertUnion, experts }) =>
      expertUnion.map((sum, i) => sum / (windows[i] * experts.length))
    );
}

/** By layer, the share of tokens that choose each expert; empty where there are none. */
export function expertUse({ layers, tokens }: NeuronActivity): number[][] {
  return layers.filter(({ experts }) => experts.length > 0)
    .map(({ experts }) => experts.map((count) => count / tokens));
}

/** Shares of a layer's neurons that are live for a token. */
export interface LiveShares {
  /** Of an average token */
  readonly mean: number;
  /** What 5% of the tokens do not pass */
  readonly p5: number;
  /** What a quarter does not pass */
  readonly p25: number;
  /** What half do not pass */
  readonly median: number;
  /** What three quarters do not pass */
  readonly p75: number;
  /** What 95% do not pass */
  readonly p95: number;
}

/** How live shares are spread over tokens, by layer. */
export function liveShares(
  { layers, tokens, neurons }: NeuronActivity,
): LiveShares[] {
  return layers.map(({ live }) => {
    /** The smallest count that at least this share of the tokens do not pass. */
    const quantile = (share: number) => {
      let passed = 0;
      const found = live.find(([, count]) =>
        (passed += count) >= share * tokens
      );
      return found![0] / neurons;
    };
    const sum = live.reduce((all, [count, times]) => all + count * times, 0);
    return {
      mean: sum / (tokens * neurons),
      p5: quantile(0.05),
      p25: quantile(0.25),
      median: quantile(0.5),
      p75: quantile(0.75),
      p95: quantile(0.95),
    };
  });
}
