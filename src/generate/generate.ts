/** The loop from a prompt to a text: evaluate, sample, decode, stop. */
import * as v from "valibot";
import type { Constraint } from "../constrain/constraint.ts";
import type { ConstraintSpec } from "../constrain/constraint_spec.ts";
import { constraintOf, constraintOptions } from "../constrain/options.ts";
import type { Engine } from "../engine/engine.ts";
import { ContextError, UsageError } from "../errors.ts";
import {
  abortSignal,
  type Checked,
  type OptionsOf,
  type SchemaOf,
} from "../options.ts";
import { type PlaceStats, statsSince } from "../places/stats.ts";
import type { Logits } from "../sampling/logits.ts";
import {
  logSoftmaxAt,
  type SampledToken,
  topLogprobs,
} from "../sampling/logprobs.ts";
import { type SamplingOptions, samplingOptions } from "../sampling/options.ts";
import { makeSampler } from "../sampling/sampler.ts";
import { StopStrings } from "../sampling/stop_strings.ts";
import { MasksAhead } from "./masks_ahead.ts";
import { checkDraftModel } from "./model_drafter.ts";
import { Session } from "./session.ts";
import { speculates, Speculation, speculationOptions } from "./speculation.ts";
import { Detokenizer } from "../tokenizer/detokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** How a text is generated, apart from how its tokens are chosen. */
export const textOptions = {
  /** The most tokens to generate; -1 until the model ends or the context is full. */
  maxTokens: {
    type: "integer",
    minimum: -1,
    default: -1,
    flag: "-n, --predict, --n-predict <n>",
    description: "most tokens to generate; -1 = until the end",
  },
  /** Never ends before `maxTokens`: end-of-generation tokens are forbidden. */
  ignoreEos: {
    type: "boolean",
    default: false,
    flag: "--ignore-eos",
    description: "never end before -n",
  },
  /** A text, or several, that end the text; they are not part of it. */
  stop: {
    type: "strings",
    flag: "-r, --reverse-prompt, --stop <text>",
    description: "end before this text",
  },
  /**
   * Gives each piece's log-probability, and this many of the likeliest tokens with
   * it; both take the logits of the whole vocabulary. Default: neither.
   */
  logprobs: {
    type: "integer",
    minimum: 0,
    defaultText: "none",
    flag: "--logprobs <n>",
    description:
      "print each token's log-probability and the n likeliest tokens to standard error",
  },
  /** Reads special tokens that the prompt spells out, such as `<|im_start|>`, as one id each. */
  parseSpecial: {
    type: "boolean",
    default: false,
    description:
      "reads special tokens that the prompt spells out as one id each",
  },
  /** Special tokens that are part of the text, as those around a tool's call are; others are left out. */
  shownTokens: {
    schema: v.array(v.number("a token's id"), "a list of ids") as SchemaOf<
      readonly number[]
    >,
    description: "special tokens that are part of the text; others are not",
  },
  /** Stops at the next step. */
  signal: {
    schema: abortSignal as typeof abortSignal,
    description: "stops at the next step",
  },
  /** Keeps its past, so that a prompt that continues it is not evaluated again. */
  session: {
    schema: v.instance(
      Session,
      "what createSession gives",
    ) as SchemaOf<Session>,
    description:
      "keeps its past, so that a prompt that continues it is not evaluated again",
  },
  /**
   * Takes over what other texts that began as the prompt does have left behind;
   * the text is the same.
   */
  cachePrompt: {
    type: "boolean",
    default: true,
    description:
      "takes over what other texts that began alike have left behind",
  },
  /** Called with each piece as it comes, before it is given. */
  onToken: {
    schema: v.function("a function") as SchemaOf<(piece: Piece) => void>,
    description: "called with each piece as it comes",
  },
  /** Called once, when the text has ended for whatever reason. */
  onFinish: {
    schema: v.function("a function") as SchemaOf<(summary: Summary) => void>,
    description: "called once, with a summary, when the text has ended",
  },
  ...constraintOptions,
  ...speculationOptions,
} as const;

/** How a text is generated. Everything may be left out; {@linkcode textOptions} and {@linkcode samplingOptions} have ranges and defaults. */
export type GenerateOptions =
  & SamplingOptions
  & OptionsOf<typeof textOptions>;

/** All that {@linkcode GenerateOptions} may have. */
export const generateOptions = { ...samplingOptions, ...textOptions };

/** Options with every default filled in. */
export type CheckedGenerateOptions = Checked<typeof generateOptions>;

/** What one generated token adds to the text. */
export interface Piece {
  /** The token's id; the end-of-generation token, where the model ends, comes as the last piece. */
  readonly id: number;
  /** Text that is complete and can't be part of a stop string; often that of earlier tokens too. */
  readonly text: string;
  /** Natural logarithm of the token's probability before any filter; NaN where `logprobs` is left out. */
  readonly logprob: number;
  /** The likeliest tokens at this position, where requested. */
  readonly topLogprobs?: readonly SampledToken[];
}

/** What a generation took. */
export interface Summary {
  /** `stop`: the model ended, a stop string came, or what the text is held to was whole; `length`: maxTokens or the context's end. */
  readonly finishReason: "stop" | "length" | "aborted";
  /** The stop string that ended the text, if one did. */
  readonly stopString?: string;
  /** Tokens of the prompt, those that were not evaluated again included. */
  readonly promptTokens: number;
  /** Tokens of the prompt that the session, or another text, had left behind. */
  readonly cachedTokens: number;
  /** Tokens generated. */
  readonly completionTokens: number;
  /** Tokens that were evaluated before they were drawn. */
  readonly draftedTokens: number;
  /** Those of them that were drawn then, each a step that was spared. */
  readonly acceptedTokens: number;
  /** Wall time of the prompt, in ms. */
  readonly promptMs: number;
  /** Wall time after the first token, in ms. */
  readonly completionMs: number;
  /** The seed that was used. */
  readonly seed: number;
  /** Rows computed and bytes read by the prompt; of steps with others, its tokens' part. */
  readonly promptStats: PlaceStats;
  /** Rows computed and bytes read by the tokens after the first. */
  readonly completionStats: PlaceStats;
}

/**
 * Continues `prompt` in `session`.
 *
 * @throws {UsageError} for an empty prompt, ids that cannot be biased, or a session that another text has
 * @throws {ContextError} where the prompt does not fit the context
 * @throws {UnsupportedError} where a schema, a grammar or a regex has what is not supported; `LimitError` where it takes too much
 */
export async function* generate(
  engine: Engine,
  tokenizer: Tokenizer,
  session: Session,
  prompt: readonly number[],
  options: CheckedGenerateOptions,
): AsyncGenerator<Piece, void, void> {
  const { signal, logprobs, maxTokens, ignoreEos, stop, cachePrompt } = options;
  if (prompt.length === 0) {
    throw new UsageError("Cannot generate: the prompt is empty");
  }
  if (prompt.length >= engine.contextSize) {
    throw new ContextError(
      `Cannot generate: the prompt has ${prompt.length} tokens, the context ${engine.contextSize}, and one more must fit`,
      { tokens: prompt.length, contextSize: engine.contextSize },
    );
  }
  const isDrafted = speculates(engine, options);
  if (options.draftModel) {
    checkDraftModel({ engine, tokenizer }, options.draftModel);
  }
  const spec = constraintOf(options);
  const sampler = makeSampler(
    ignoreEos ? withoutEnd(options, tokenizer) : options,
    tokenizer.vocabSize,
    { logprob: false },
  );
  // Picked where they are computed, the largest alone come here: under a mask, those
  // that it allows, but of log-probabilities others are wanted too.
  const needsSum = logprobs !== undefined;
  const isWhole = sampler.top === 0 || spec !== undefined && needsSum;
  const most = isWhole ? 0 : Math.max(sampler.top, logprobs ?? 0);
  const top = Math.min(most, tokenizer.vocabSize);
  const ask = () => ({ top, needsSum, signal, mask: masks?.begin() });
  const stops = new StopStrings(stop ?? []);
  const detokenizer = new Detokenizer(tokenizer, {
    shown: options.shownTokens,
  });
  const limit = Math.min(
    maxTokens < 0 ? Infinity : maxTokens,
    engine.contextSize - prompt.length,
  );

  let completionTokens = 0;
  let finishReason: Summary["finishReason"] = "length";
  let stopString: string | undefined;
  const start = performance.now();
  const startStats = session.stats();
  let firstAt: number | undefined;
  let next: Promise<Logits> | undefined;
  let speculation: Speculation | undefined;
  let firstStats = startStats;
  using _ = session.take(engine);
  using constraint = spec && await constrained(tokenizer, spec);
  const masks = constraint && new MasksAhead(constraint);
  const cachedTokens = session.reuse(prompt, cachePrompt);
  try {
    next = limit > 0
      ? session.append(prompt.slice(cachedTokens), ask())
      : undefined;
    let logits = await next;
    firstAt = performance.now();
    firstStats = session.stats();
    if (isDrafted) {
      const end = prompt.length + limit;
      const held = constraint && { constraint, tokenizer };
      speculation = new Speculation(engine, session, options, end, held);
    }
    const append = (id: number) =>
      speculation ? speculation.next(id, ask()) : session.append([id], ask());
    while (logits) {
      const { id } = sampler.sample(logits, session.ids, await masks?.take());
      completionTokens++;
      const ended = !ignoreEos && tokenizer.isEndOfGeneration(id);
      if (!ended) constraint?.take(id);
      const isWhole = ended || constraint?.mustEnd === true;
      const isLast = isWhole || completionTokens >= limit;
      const stopped = stops.push(
        (ended ? "" : detokenizer.push(id)) +
          (isLast ? detokenizer.flush() : ""),
      );
      stopString = stopped.stopped;
      const finished = isLast || stopString !== undefined;
      if (isWhole || stopString !== undefined) finishReason = "stop";
      // The places compute the next step while this thread, and the caller,
      // are busy with this token.
      next = finished ? undefined : append(id);
      next?.catch(() => {}); // the await below, or the one at the end, reports it
      const piece: Piece = {
        id,
        text: stopped.text + (finished ? stops.flush() : ""),
        logprob: needsSum ? logSoftmaxAt(logits, id) : NaN,
        topLogprobs: logprobs ? topLogprobs(logits, logprobs) : undefined,
      };
      options.onToken?.(piece);
      yield piece;
      logits = await next;
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
    finishReason = "aborted";
  } finally {
    await next?.catch(() => {}); // a caller may stop listening while a step runs
    speculation?.[Symbol.dispose]();
    session.forgetDraft();
    const end = performance.now();
    options.onFinish?.({
      finishReason,
      stopString,
      promptTokens: prompt.length,
      cachedTokens,
      completionTokens,
      draftedTokens: speculation?.drafted ?? 0,
      acceptedTokens: speculation?.accepted ?? 0,
      promptMs: (firstAt ?? end) - start,
      completionMs: end - (firstAt ?? end),
      seed: sampler.seed,
      promptStats: statsSince(firstStats, startStats),
      completionStats: statsSince(session.stats(), firstStats),
    });
  }
}

/** Begins a text that is held to something. What that takes is loaded only where it is wanted. */
async function constrained(
  tokenizer: Tokenizer,
  spec: ConstraintSpec,
): Promise<Constraint> {
  const { makeConstraint } = await import("../constrain/constraint.ts");
  return await makeConstraint(tokenizer, spec);
}

function withoutEnd(
  options: SamplingOptions,
  tokenizer: Tokenizer,
): SamplingOptions {
  const given = options.logitBias ?? {};
  const bias = new Map<number, number>(
    given instanceof Map
      ? given
      : Object.entries(given).map(([id, value]) => [Number(id), value]),
  );
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    if (tokenizer.isEndOfGeneration(id)) bias.set(id, -Infinity);
  }
  return { ...options, logitBias: bias };
}
