/** Log-probabilities as OpenAI's chats and completions state them. */
import type { AnswerToken } from "../answer.ts";
import type { ScoredToken } from "../prompt_logprobs.ts";
import { Detokenizer } from "../../tokenizer/detokenizer.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { tokenName, tokenText } from "../token_text.ts";

/** A token of a chat's answer. */
interface ChatToken {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8 */
  readonly bytes: readonly number[];
}

/** A token of a chat's answer, and the likeliest in its place. */
export interface ChatLogprob extends ChatToken {
  readonly top_logprobs: readonly ChatToken[];
}

/** The log-probabilities of tokens; the one that ends an answer is not part of it. */
export function chatLogprobs(
  tokenizer: Tokenizer,
  tokens: readonly AnswerToken[],
): { content: ChatLogprob[]; refusal: null } {
  const spelled = (id: number, logprob: number): ChatToken => ({
    token: tokenText(tokenizer, id),
    logprob,
    bytes: [...tokenizer.pieceBytes(id)],
  });
  const said = tokens.filter(({ id }) => !tokenizer.isEndOfGeneration(id));
  const content = said.map(({ id, logprob, topLogprobs = [] }) => ({
    ...spelled(id, logprob),
    top_logprobs: topLogprobs.map(({ id, logprob }) => spelled(id, logprob)),
  }));
  return { content, refusal: null };
}

/** Log-probabilities of a completion: lists of one length. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Where each token begins in the text, in characters */
  readonly text_offset: number[];
}

/** Writes the log-probabilities of one completion, some tokens after others. */
export class CompletionScorer {
  readonly #tokenizer: Tokenizer;
  readonly #detokenizer: Detokenizer;
  #offset = 0;

  /** `begins`: whether the tokens begin a text, and not behind a prompt. */
  constructor(tokenizer: Tokenizer, begins: boolean) {
    this.#tokenizer = tokenizer;
    this.#detokenizer = new Detokenizer(tokenizer, {
      stripLeadingSpace: begins,
    });
  }

  /** The log-probabilities of the next tokens. */
  next(tokens: readonly ScoredToken[]): CompletionLogprobs {
    const tokenizer = this.#tokenizer;
    return {
      tokens: tokens.map(({ id }) => tokenName(tokenizer, id)),
      token_logprobs: tokens.map(({ logprob }) => logprob ?? null),
      top_logprobs: tokens.map((token) => this.#top(token)),
      text_offset: tokens.map(({ id }) => {
        const offset = this.#offset;
        this.#offset += [...this.#detokenizer.push(id)].length;
        return offset;
      }),
    };
  }

  /** The likeliest tokens by name, and the token itself. */
  #top(
    { id, logprob, topLogprobs = [] }: ScoredToken,
  ): Record<string, number> | null {
    if (logprob === undefined) return null;
    const named = [...topLogprobs, { id, logprob }].map((
      { id, logprob },
    ): [string, number] => [tokenName(this.#tokenizer, id), logprob]);
    // The likeliest of those that share a name.
    return Object.fromEntries(named.sort(([, a], [, b]) => a - b));
  }
}
