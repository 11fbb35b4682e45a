/** Drafts by a second model, small and of the same vocabulary, which guesses the likeliest tokens. */
import { Engine } from "../engine/engine.ts";
import { CulmError, UsageError } from "../errors.ts";
import type { TopLogits } from "../sampling/logits.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { draftLength, Guesses, leastGain } from "./draft_length.ts";
import type { DraftAsk, DraftCosts, Drafter } from "./drafter.ts";
import { Session } from "./session.ts";

/** A model that drafts: what `load` gives. */
export interface DraftModel {
  /** Evaluates its tokens */
  readonly engine: Engine;
  /** Whose ids are those of the model that it drafts for */
  readonly tokenizer: Tokenizer;
}

/** Whether a value is one. */
export function isDraftModel(value: unknown): value is DraftModel {
  return (value as Partial<DraftModel> | null)?.engine instanceof Engine;
}

/**
 * Ids mean the same to both models.
 *
 * @throws {UsageError} where they do not, or both are one
 */
export function checkDraftModel(
  model: DraftModel,
  { engine, tokenizer }: DraftModel,
): void {
  if (engine === model.engine) {
    throw new UsageError(
      "Cannot draft with the model itself: load a smaller one",
    );
  }
  checkDraftVocabulary(model.tokenizer, tokenizer);
}

/** Pairs that were compared: a vocabulary has some 100,000 tokens. */
const compared = new WeakMap<Tokenizer, WeakSet<Tokenizer>>();

/**
 * The ids of a model and of one that drafts for it are of the same tokens.
 *
 * @throws {UsageError} where they are not
 */
export function checkDraftVocabulary(
  tokenizer: Tokenizer,
  other: Tokenizer,
): void {
  if (compared.get(tokenizer)?.has(other)) return;
  const { vocabSize } = tokenizer;
  if (other.vocabSize !== vocabSize) {
    throw new UsageError(
      `Cannot draft with a model of ${other.vocabSize} tokens for one of ${vocabSize}: both need the same vocabulary`,
    );
  }
  for (let id = 0; id < vocabSize; id++) {
    const [own, others] = [tokenizer, other].map((t) => t.pieceText(id));
    if (own === others) continue;
    throw new UsageError(
      `Cannot draft with a model whose token ${id} is ${
        JSON.stringify(others)
      }, where the other's is ${
        JSON.stringify(own)
      }: both need the same vocabulary`,
    );
  }
  if (!compared.has(tokenizer)) compared.set(tokenizer, new WeakSet());
  compared.get(tokenizer)!.add(other);
}

/** Chances before any guess was told, of tokens that the draft model gives a probability under 0.2, 0.4, ... */
const priors = [0.2, 0.4, 0.55, 0.7, 0.9];

const classOf = (probability: number) =>
  Math.min(priors.length - 1, Math.floor(probability * priors.length));

/** A token that was drafted, and the class of its probability. */
interface Guess {
  readonly id: number;
  readonly class: number;
}

/** Tokens after which drafting is tried anew where it did not pay; twice as many each time. */
const firstPause = 32;
/** What catching up may take for that, as a share of the time that the tokens since then took. */
const dearestTry = 0.05;

/**
 * Asks a draft model for as many tokens as pay: for each, by how sure that is of
 * it, and how often what it was so sure of was right. Where its steps cost more
 * than they spare, it rests. A draft model that fails is asked no more, since a
 * text is the same without.
 */
export class ModelDrafter implements Drafter {
  readonly #ids: number[];
  readonly #session: Session;
  readonly #byClass = new Guesses(priors);
  readonly #any = new Guesses([0.6]);
  /** What was guessed last, drafted or not, and was not told yet whether it is right */
  #guesses: readonly Guess[] = [];
  /** Tokens that are to come before the next try, and that were then */
  #pause = 0;
  #lastPause = firstPause / 2;
  #isOff = false;

  /** Goes on behind `ids`. */
  constructor(readonly model: DraftModel, ids: Iterable<number>) {
    this.#ids = [...ids];
    this.#session = new Session(model.engine);
  }

  push(id: number): void {
    const [guess, ...rest] = this.#guesses;
    if (guess) {
      const isRight = guess.id === id;
      this.#byClass.add(guess.class, isRight);
      this.#any.add(0, isRight);
      this.#guesses = isRight ? rest : [];
    }
    this.#ids.push(id);
    if (this.#pause > 0) this.#pause--;
  }

  async draft(ask: DraftAsk): Promise<readonly number[]> {
    if (this.#isOff || ask.most < ask.least || !this.#mayPay(ask)) return [];
    try {
      return await this.#draft(ask);
    } catch (error) {
      ask.signal?.throwIfAborted();
      if (!(error instanceof CulmError)) throw error;
      this.#isOff = true;
      return [];
    }
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]();
  }

  /** What a token of the draft takes, in ms; nothing as long as that is not known. */
  get #stepMs(): number {
    return this.model.engine.stepCosts.ms(1) ?? 0;
  }

  /** Whether a draft pays, by how often guesses are right in all; where not, whether it is time to try. */
  #mayPay({ costs, least, most }: DraftAsk): boolean {
    if (this.#pause > 0) return false;
    const { sequences, prompts } = costs,
      any = this.#any.of(0),
      stepMs = this.#stepMs;
    const ms = (tokens: number) => {
      const checked = costs.ms(tokens);
      return checked && checked + (tokens - sequences) * stepMs;
    };
    const withDraft: DraftCosts = { ms, sequences, prompts };
    if (draftLength(1, { of: () => any }, withDraft, least, most) > 0) {
      this.#lastPause = firstPause / 2;
      return true;
    }
    this.#pause = this.#lastPause *= 2;
    const behind = Math.max(1, this.#ids.length - this.#session.ids.length);
    const catchUpMs = this.model.engine.stepCosts.ms(behind) ?? 0;
    return catchUpMs < dearestTry * behind * (costs.ms(sequences) ?? 0);
  }

  /** Guesses as long as one more may pay; those that do are the draft. */
  async #draft({ costs, least, most, signal }: DraftAsk): Promise<number[]> {
    const { sequences } = costs;
    const checkMs = (drafted: number) => costs.ms(sequences + drafted) ?? 0;
    const guesses: Guess[] = [];
    /** Tokens that a step is expected to bring, by how many are drafted */
    const tokens = [sequences];
    let chance = 1, spentMs = 0;
    const rate = (drafted: number) =>
      tokens[drafted] / (checkMs(drafted) + spentMs);
    const best = () => {
      let best = 0;
      for (let drafted = least; drafted < tokens.length; drafted++) {
        if (rate(drafted) > rate(best)) best = drafted;
      }
      return best;
    };
    while (guesses.length < most) {
      const guess = await this.#next(guesses, signal);
      if (!guess) break;
      guesses.push(guess);
      chance *= this.#byClass.of(guess.class);
      tokens.push(tokens[tokens.length - 1] + chance);
      spentMs = guesses.length * this.#stepMs;
      // One more, were it sure.
      const more = (tokens[guesses.length] + chance) /
        (checkMs(guesses.length + 1) + spentMs + this.#stepMs);
      if (more <= leastGain * rate(best())) break;
    }
    this.#guesses = guesses;
    return guesses.slice(0, best()).map(({ id }) => id);
  }

  /** The likeliest token behind the text and what was guessed; undefined where it would end the text, or does not fit. */
  async #next(
    guesses: readonly Guess[],
    signal: AbortSignal | undefined,
  ): Promise<Guess | undefined> {
    const { engine, tokenizer } = this.model, session = this.#session;
    const last = guesses.at(-1)?.id;
    if (last !== undefined && tokenizer.isEndOfGeneration(last)) return;
    const ids = [...this.#ids, ...guesses.map(({ id }) => id)];
    if (ids.length > engine.contextSize) return;
    const kept = session.reuse(ids, guesses.length === 0);
    const ask = { top: 1, needsSum: true, signal };
    const logits = await session.append(ids.slice(kept), ask) as TopLogits;
    const [id] = logits.ids;
    // Rows beyond the vocabulary, which some models have, are nothing to draw.
    if (id >= tokenizer.vocabSize) return;
    const probability = Math.exp(logits.logits[0] - logits.logSumExp);
    return { id, class: classOf(probability) };
  }
}
