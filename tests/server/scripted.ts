/** A model that says what a test wants it to say. */
import type { LanguageModel } from "../../mod.ts";
import type { GenerateOptions, Piece } from "../../src/generate/generate.ts";
import { Detokenizer } from "../../src/tokenizer/detokenizer.ts";

/** Lets a model write these texts, one after another, token by token, instead of its own. The prompts that it had are noted. */
export function script(
  model: LanguageModel,
  texts: readonly string[],
): { readonly prompts: string[] } {
  const prompts: string[] = [];
  const { tokenizer } = model;
  const own = model.generate.bind(model);
  const rest = [...texts];
  model.generate = async function* (
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<Piece, void, void> {
    const ids = typeof prompt === "string" ? model.tokenize(prompt) : prompt;
    prompts.push(tokenizer.decode(ids, { skipSpecial: false }));
    const said = [
      ...tokenizer.encode(rest.shift() ?? "", { addSpecial: false }),
      tokenizer.eos!,
    ];
    const detokenizer = new Detokenizer(tokenizer, {
      stripLeadingSpace: true,
      shown: options.shownTokens,
    });
    const { maxTokens = -1 } = options;
    const count = maxTokens < 0
      ? said.length
      : Math.min(maxTokens, said.length);
    for (const [i, id] of said.slice(0, count).entries()) {
      const isEnd = id === tokenizer.eos;
      yield {
        id,
        text: isEnd ? detokenizer.flush() : detokenizer.push(id),
        logprob: options.logprobs === undefined ? NaN : -i,
        topLogprobs: options.logprobs ? [{ id, logprob: -i }] : undefined,
      };
    }
    // What a summary says, by a text of as many tokens.
    const summary = own(ids, {
      maxTokens: 1,
      onFinish: (given) =>
        options.onFinish?.({
          ...given,
          completionTokens: count,
          finishReason: count < said.length ? "length" : "stop",
        }),
    });
    await Array.fromAsync(summary);
  };
  return { prompts };
}
