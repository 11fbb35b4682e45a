/**
 * Speculative decoding: tokens that a text itself, or a second model, lets expect
 * are checked in one step with the next.
 *
 * The sampler draws each token as it does without drafts, from the same logits
 * and with the same random numbers; a draft only decides whether the logits after
 * that token are there already. So the text is the same for any sampler and seed
 * where logits do not depend on what shares a step: on CPUs.
 */
import * as v from "valibot";
import type { Constraint } from "../constrain/constraint.ts";
import type { Engine } from "../engine/engine.ts";
import { UsageError } from "../errors.ts";
import type { Checked, SchemaOf } from "../options.ts";
import { pagePositions, pagesFor } from "../places/batch.ts";
import type { Logits } from "../sampling/logits.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { ConstraintDrafter } from "./constraint_drafter.ts";
import type { Drafter } from "./drafter.ts";
import {
  type DraftModel,
  isDraftModel,
  ModelDrafter,
} from "./model_drafter.ts";
import { NgramDrafter } from "./ngram_drafter.ts";
import { NgramPool, sharedPool } from "./ngram_pool.ts";
import type { LogitsOptions, Session } from "./session.ts";

/** Whether and how tokens are drafted; they change how fast a text comes, and not the text. */
export const speculationOptions = {
  /**
   * What drafts the next tokens: nothing, the text itself where its last tokens
   * stood before, all texts of the model where they did, or `draftModel`.
   */
  speculation: {
    type: "string",
    enum: ["none", "ngram-simple", "ngram-mod", "draft-simple"],
    defaultText:
      "draft-simple with a draft model, else ngram-simple; none where a GPU takes part, or neurons are counted",
    flag: "--spec-type <type>",
    description:
      "what drafts tokens, where that is faster: ngram-simple = what followed the last tokens before, ngram-mod = what followed them in any text of the model, draft-simple = the draft model; on CPUs the text stays the same",
  },
  /**
   * A second, smaller model of the same vocabulary, which guesses the next
   * tokens; whoever loaded it closes it, after the text.
   */
  draftModel: {
    schema: v.custom<DraftModel>(
      isDraftModel,
      "a model, as load gives it",
    ) as SchemaOf<DraftModel>,
    description: "a smaller model of the same vocabulary that drafts",
  },
  /** The most tokens that are drafted for one step. */
  draftMax: {
    type: "integer",
    minimum: 1,
    maximum: 64,
    default: 7,
    flag:
      "--spec-draft-n-max, --draft-max, --draft, --spec-ngram-mod-n-max <n>",
    description: "most tokens drafted for one step",
  },
  /** The fewest tokens that a draft is worth a step for. */
  draftMin: {
    type: "integer",
    minimum: 1,
    maximum: 64,
    default: 1,
    flag: "--spec-draft-n-min, --draft-min, --spec-ngram-mod-n-min <n>",
    description: "fewest tokens drafted for one step",
  },
  /** How many of the last tokens must have stood before; twice as many and more, up to 16 times, count too. */
  ngramSize: {
    type: "integer",
    minimum: 1,
    maximum: 64,
    default: 1,
    flag:
      "--spec-ngram-simple-size-n, --spec-ngram-size-n, --spec-ngram-mod-n-match <n>",
    description: "how many of the last tokens must have stood before",
  },
} as const;

type SpeculationOptions = Checked<typeof speculationOptions>;

/**
 * A draft may be as long as it must be.
 *
 * @param batchSize the most tokens of a step, which checks the next token with the draft behind it
 * @throws {UsageError} where it may not
 */
export function checkDraftLength(
  { draftMin, draftMax }: Pick<SpeculationOptions, "draftMin" | "draftMax">,
  batchSize: number,
): void {
  if (draftMin > draftMax) {
    throw new UsageError(
      `Cannot draft at least ${draftMin} tokens and at most ${draftMax}`,
    );
  }
  if (draftMin > 1 && draftMin >= batchSize) {
    throw new UsageError(
      `Cannot draft at least ${draftMin} tokens: a step takes ${batchSize}, the next token among them`,
    );
  }
}

/**
 * Whether a text is drafted. Where that is not said it is with a draft model, and
 * by itself, but not where drafts, which depend on time, would change the text, or
 * what is counted of its neurons.
 *
 * @throws {UsageError} where a draft model is asked for, and there is none, or no draft is as long as it must be
 */
export function speculates(
  engine: Engine,
  options: SpeculationOptions,
): boolean {
  const { speculation, draftModel } = options;
  checkDraftLength(options, engine.batchSize);
  if (speculation === "draft-simple" && !draftModel) {
    throw new UsageError(
      "Cannot use speculation draft-simple without a draft model: give draftModel",
    );
  }
  return speculation === undefined
    ? draftModel !== undefined ||
      engine.gpuPlan === undefined && !engine.countsNeurons
    : speculation !== "none";
}

/** What drafts where that is not said: an n-gram lookup, unless there is a draft model. */
export function drafterNameOf<Name extends string>(
  { speculation, draftModel }: {
    readonly speculation?: Name;
    readonly draftModel?: unknown;
  },
): Name | "draft-simple" | "ngram-simple" {
  return speculation ?? (draftModel ? "draft-simple" : "ngram-simple");
}

function drafterOf(
  engine: Engine,
  options: SpeculationOptions,
  ids: readonly number[],
  end: number,
): Drafter {
  const { draftModel, ngramSize } = options;
  switch (drafterNameOf(options)) {
    case "draft-simple":
      return new ModelDrafter(draftModel!, ids);
    case "ngram-mod":
      return new NgramDrafter(sharedPool(engine), ngramSize, ids);
    default:
      return new NgramDrafter(new NgramPool(end), ngramSize, ids);
  }
}

/** What a text is held to, in which tokens. */
export interface Held {
  readonly constraint: Constraint;
  readonly tokenizer: Tokenizer;
}

/** Evaluates the tokens of one text, some of them before they are drawn. */
export class Speculation implements Disposable {
  readonly #drafter: Drafter;
  /** Tokens after the last that was drawn, and the logits before each and after the last */
  #draft: readonly number[] = [];
  #rows: readonly Logits[] = [];
  /** Tokens that were evaluated before they were drawn. */
  drafted = 0;
  /** Those of them that were drawn then. */
  accepted = 0;

  /** Goes on in a session that holds the prompt, up to `end` tokens of text; `held` is what that is held to. */
  constructor(
    readonly engine: Engine,
    readonly session: Session,
    readonly options: SpeculationOptions,
    readonly end: number,
    held?: Held,
  ) {
    const drafter = drafterOf(engine, options, session.ids, end);
    this.#drafter = held
      ? new ConstraintDrafter(held.constraint, held.tokenizer, drafter)
      : drafter;
  }

  /** Appends the token that was drawn, and gives the logits after it. */
  async next(id: number, ask: LogitsOptions): Promise<Logits> {
    const { signal } = ask;
    signal?.throwIfAborted();
    const isDrafted = this.#draft[0] === id;
    this.#drafter.push(id);
    if (isDrafted) {
      this.accepted++;
      this.session.accept(id);
      this.#draft = this.#draft.slice(1);
      this.#rows = this.#rows.slice(1);
    } else {
      const { draftMin: least, draftMax } = this.options;
      const most = Math.min(draftMax, this.#room());
      const { stepCosts: costs } = this.engine;
      const draft = await this.#drafter.draft({ costs, least, most, signal });
      this.#rows = await this.session.appendWithDraft([id], draft, ask);
      this.#draft = draft;
      this.drafted += draft.length;
    }
    return this.#rows[0];
  }

  [Symbol.dispose](): void {
    this.#drafter[Symbol.dispose]();
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
