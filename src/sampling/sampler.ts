import { UsageError } from "../errors.ts";
import { Candidates } from "./candidates.ts";
import {
  type Filter,
  greedy,
  minP,
  temperature,
  topK,
  topP,
  typicalP,
  xtc,
} from "./filters.ts";
import type { Logits } from "./logits.ts";
import { argmax, logSoftmaxAt, type SampledToken } from "./logprobs.ts";
import {
  type CheckedSamplingOptions,
  checkSamplingOptions,
  type SamplerName,
  type SamplingOptions,
} from "./options.ts";
import { dry, penalties } from "./penalties.ts";
import { Random, randomSeed } from "../random.ts";
import { allows, type TokenMask } from "./token_mask.ts";

/** Picks one token after another for one sequence. */
export interface Sampler {
  /**
   * How many of the largest logits are all that it looks at, of the tokens that
   * a mask allows; 0 where it needs those of the whole vocabulary.
   */
  readonly top: number;
  /**
   * Picks the next token: the same from the `top` largest logits as from all.
   * @param logits [vocabSize], or the largest of them, or of those that the mask allows, left as they are
   * @param history all tokens of the sequence so far, the prompt's too
   * @param mask of the tokens that may come; the others are as if the model had no such tokens
   * @throws {UsageError} when the logits are not the vocabulary's, or too few, or every token is forbidden;
   *   `PlaceError` when a logit is NaN or +Infinity, or all are -Infinity.
   */
  sample(
    logits: Logits,
    history: readonly number[],
    mask?: TokenMask,
  ): SampledToken;
  /** The seed in use, chosen at random where none was given. */
  readonly seed: number;
}

/**
 * Composes the filters that the options enable. Without `logprob` that of a
 * token is NaN, which saves one exponential per vocabulary entry.
 *
 * @throws {UsageError} when an option is out of its range.
 */
export function makeSampler(
  options: SamplingOptions,
  vocabSize: number,
  { logprob = true }: { readonly logprob?: boolean } = {},
): Sampler {
  const checked = checkSamplingOptions(options, vocabSize);
  const seed = checked.seed === -1 ? randomSeed() : checked.seed;
  const random = new Random(seed);
  // Without those that would change nothing.
  const chain = checked.samplers.flatMap((name) => {
    const filter = makeFilter(name, checked, vocabSize, random);
    return filter ? [{ name, filter }] : [];
  });
  const pick = makePick(checked, chain, vocabSize, random);
  const needed = topNeeded(checked, chain);
  const top = needed < vocabSize ? needed : 0;
  return {
    seed,
    top,
    sample(logits, history, mask) {
      checkCount(logits, top, vocabSize);
      const likeliest = logits instanceof Float32Array
        ? argmax(logits)
        : logits.ids[0];
      const id = pick(logits, history, likeliest, mask);
      return { id, logprob: logprob ? logSoftmaxAt(logits, id) : NaN };
    },
  };
}

function checkCount(logits: Logits, top: number, vocabSize: number): void {
  if (logits instanceof Float32Array) {
    if (logits.length === vocabSize) return;
    throw new UsageError(
      `Cannot sample: there are ${logits.length} logits, and ${vocabSize} tokens`,
    );
  }
  const count = logits.ids.length;
  const needed = top || vocabSize;
  if (count < Math.min(needed, vocabSize)) {
    throw new UsageError(
      `Cannot sample: there are the ${count} largest logits, and ${needed} are needed`,
    );
  }
}

/**
 * How many of the largest logits have all that the first filter leaves which
 * drops any: as many as that leaves, and as many more as are lowered before; 0
 * where logits are raised, or it may leave others.
 */
function topNeeded(
  o: CheckedSamplingOptions,
  chain: readonly NamedFilter[],
): number {
  const { logitBias, temperature, topK, repeatLastN, dryPenaltyLastN } = o;
  const raises = logitBias.some(([, bias]) => bias > 0) ||
    o.repeatPenalty < 1 || o.presencePenalty < 0 || o.frequencyPenalty < 0;
  if (raises) return 0;
  let lowered = logitBias.length;
  for (const { name } of chain) {
    if (name === "penalties" || name === "dry") {
      const lastN = name === "dry" ? dryPenaltyLastN : repeatLastN;
      if (lastN < 0) return 0;
      lowered += lastN;
    } else if (name === "top_k") return topK + lowered;
    else if (name !== "temperature" || temperature > 0) return 0;
    else break;
  }
  return temperature <= 0 ? 1 + lowered : 0;
}

type Pick = (
  logits: Logits,
  history: readonly number[],
  likeliest: number,
  mask?: TokenMask,
) => number;

function makePick(
  o: CheckedSamplingOptions,
  chain: readonly NamedFilter[],
  vocabSize: number,
  random: Random,
): Pick {
  const filters = chain.map(({ filter }) => filter);
  if (o.logitBias.length > 0) {
    filters.unshift(({ logits }) => {
      for (const [id, bias] of o.logitBias) logits[id] += bias;
    });
  }
  const candidates = new Candidates(vocabSize);
  const isPlain = o.logitBias.length === 0 &&
    chain.every(({ name }) => name === "temperature");
  const isLikeliest = o.temperature <= 0 && isPlain;
  // What keeps the largest first leaves them in their order, unless they were changed before.
  const byId = o.logitBias.length > 0 || chain[0]?.name !== "top_k";
  const largest = isLikeliest ? 1 : byId ? Infinity : o.topK;
  return (logits, history, likeliest, mask) => {
    if (isLikeliest && (!mask || allows(mask, likeliest))) return likeliest;
    if (mask) candidates.resetMasked(logits, mask, largest);
    else candidates.reset(logits, byId);
    for (const filter of filters) filter(candidates, history);
    if (o.temperature <= 0) return checkAllowed(candidates, candidates.best());
    return draw(candidates, random);
  };
}

interface NamedFilter {
  readonly name: SamplerName;
  readonly filter: Filter;
}

function makeFilter(
  name: SamplerName,
  o: CheckedSamplingOptions,
  vocabSize: number,
  random: Random,
): Filter | false {
  // The likeliest token passes top_k, top_p and min_p whatever they drop: greedy sampling needs them
  // only for what typ_p and xtc then make of the rest.
  const drops = o.temperature > 0 || o.typicalP < 1 || o.xtcProbability > 0;
  const filters: Record<SamplerName, () => Filter | false> = {
    penalties: () =>
      (o.repeatPenalty !== 1 || o.presencePenalty !== 0 ||
        o.frequencyPenalty !== 0) &&
      o.repeatLastN !== 0 &&
      penalties(o, vocabSize),
    dry: () =>
      o.dryMultiplier > 0 && o.dryPenaltyLastN !== 0 && dry(o, vocabSize),
    top_k: () => drops && o.topK > 0 && o.topK < vocabSize && topK(o.topK),
    typ_p: () => o.typicalP < 1 && typicalP(o.typicalP),
    top_p: () => drops && o.topP < 1 && topP(o.topP),
    min_p: () => drops && o.minP > 0 && minP(o.minP),
    xtc: () =>
      o.xtcProbability > 0 && o.xtcThreshold <= 0.5 &&
      xtc(o.xtcProbability, o.xtcThreshold, random),
    temperature: () =>
      o.temperature <= 0
        ? greedy
        : o.temperature !== 1 && temperature(o.temperature),
  };
  return filters[name]();
}

/** Draws a token by its probability among the candidates. */
function draw(candidates: Candidates, random: Random): number {
  const { ids, logits } = candidates;
  if (candidates.count === 1) return checkAllowed(candidates, ids[0]);
  checkAllowed(candidates, candidates.best());
  candidates.softmax();
  let rest = random.next();
  let last = 0;
  for (let i = 0; i < candidates.count; i++) {
    if (logits[ids[i]] === -Infinity) continue;
    last = i;
    rest -= candidates.probabilities[i];
    if (rest < 0) break;
  }
  return ids[last]; // Rounding can leave a rest after all: it belongs to the last possible token.
}

function checkAllowed({ logits }: Candidates, id: number): number {
  if (logits[id] === -Infinity) {
    throw new UsageError(
      "Cannot sample: logitBias forbids every token that may come",
    );
  }
  return id;
}
