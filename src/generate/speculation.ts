/**
 * Speculative decoding without a second model: the tokens that followed the last
 * ones before are guessed to follow again, and checked in one step with the next.
 *
 * The sampler draws each token as it does without drafts, from the same logits
 * and with the same random numbers; a draft only decides whether the logits after
 * that token are there already. So the text is the same for any sampler and seed
 * where logits do not depend on what shares a step: on CPUs.
 */
import type { Engine } from "../engine/engine.ts";
import type { Checked } from "../options.ts";
import { pagePositions, pagesFor } from "../places/batch.ts";
import type { Logits } from "../sampling/logits.ts";
import { Chances, draftLength } from "./draft_length.ts";
import { type Match, NgramIndex } from "./ngram_index.ts";
import type { Ask, Session } from "./session.ts";

/** Whether and how tokens are drafted; they change how fast a text comes, and not the text. */
export const speculationOptions = {
  /** What drafts the next tokens: nothing, or the text itself where its last tokens stood before. */
  speculation: {
    type: "string",
    enum: ["none", "ngram-simple"],
    defaultText:
      "ngram-simple; none where a GPU takes part, or neurons are counted",
    flag: "--spec-type <type>",
    description:
      "what drafts tokens, where that is faster: ngram-simple = what followed the last tokens before; on CPUs the text stays the same",
  },
  /** The most tokens that are drafted for one step. */
  draftMax: {
    type: "integer",
    minimum: 1,
    maximum: 64,
    default: 7,
    flag: "--spec-draft-n-max, --draft-max, --draft <n>",
    description: "most tokens drafted for one step",
  },
  /** The fewest tokens that a draft is worth a step for. */
  draftMin: {
    type: "integer",
    minimum: 1,
    maximum: 64,
    default: 1,
    flag: "--spec-draft-n-min, --draft-min <n>",
    description: "fewest tokens drafted for one step",
  },
  /** How many of the last tokens must have stood before. */
  ngramSize: {
    type: "integer",
    minimum: 1,
    maximum: 64,
    default: 3,
    flag: "--spec-ngram-simple-size-n, --spec-ngram-size-n <n>",
    description: "how many of the last tokens must have stood before",
  },
} as const;

/**
 * Whether a text is drafted. Where that is not said it is, but not where drafts,
 * which depend on time, would change the text, or what is counted of its neurons.
 */
export function speculates(
  engine: Engine,
  { speculation }: Checked<typeof speculationOptions>,
): boolean {
  return speculation === undefined
    ? engine.gpuPlan === undefined && !engine.countsNeurons
    : speculation !== "none";
}

/** Evaluates the tokens of one text, some of them before they are drawn. */
export class Speculation {
  readonly #index: NgramIndex;
  readonly #chances = new Chances();
  #match?: Match;
  /** Tokens after the last that was drawn, and the logits before each and after the last */
  #draft: readonly number[] = [];
  #rows: readonly Logits[] = [];
  /** Tokens that were evaluated before they were drawn. */
  drafted = 0;
  /** Those of them that were drawn then. */
  accepted = 0;

  /** Goes on in a session that holds the prompt, up to `end` tokens of text. */
  constructor(
    readonly engine: Engine,
    readonly session: Session,
    readonly options: Checked<typeof speculationOptions>,
    readonly end: number,
  ) {
    this.#index = new NgramIndex(options.ngramSize, session.ids);
    this.#match = this.#index.match();
  }

  /** Appends the token that was drawn, and gives the logits after it. */
  async next(id: number, ask: Ask): Promise<Logits> {
    ask.signal?.throwIfAborted();
    const isDrafted = this.#draft[0] === id;
    this.#learn(id);
    if (isDrafted) {
      this.accepted++;
      this.session.accept(id);
      this.#draft = this.#draft.slice(1);
      this.#rows = this.#rows.slice(1);
    } else {
      const draft = this.#nextDraft();
      this.#rows = await this.session.appendWithDraft([id], draft, ask);
      this.#draft = draft;
      this.drafted += draft.length;
    }
    return this.#rows[0];
  }

  #learn(id: number): void {
    if (this.#match) {
      const [guess] = this.#index.following(this.#match, 1);
      this.#chances.add(this.#match.length, guess === id);
    }
    this.#index.push(id);
    this.#match = this.#index.match();
  }

  #nextDraft(): number[] {
    const match = this.#match;
    if (!match) return [];
    const { draftMin, draftMax } = this.options;
    const most = Math.min(draftMax, this.#room());
    const { stepCosts } = this.engine;
    return this.#index.following(
      match,
      draftLength(match.length, this.#chances, stepCosts, draftMin, most),
    );
  }

  /** The most tokens that may be drafted: the text's last one is not evaluated, and others may need the pages. */
  #room(): number {
    const { engine, session, end } = this;
    const length = session.ids.length + 1;
    const room = Math.min(end - 1 - length, engine.batchSize - 1);
    // A page more, and one that is copied where a draft that was wrong has filled it.
    const isSpare = engine.pagesHeld - engine.pagesTaken > 2;
    const left = pagesFor(length) * pagePositions - length;
    return isSpare ? room : Math.min(room, left - 1);
  }
}
