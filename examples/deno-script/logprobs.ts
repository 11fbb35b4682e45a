/**
 * Tokens, how likely each was, and what else might have stood there.
 *
 *     deno run examples/deno-script/logprobs.ts
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";

await using model = await load(tinyBamboo());

/** Text and probability of a token. */
const shown = ({ id, logprob }: { id: number; logprob: number }) => {
  const percent = (100 * Math.exp(logprob)).toFixed(1);
  return `${JSON.stringify(model.detokenize([id]))} ${percent}%`;
};

const prompt = "One day, Lily went to the";
console.log(prompt, ...model.tokenize(prompt));

const options = { maxTokens: 8, temperature: 0, logprobs: 3 };
for await (const piece of model.generate(prompt, options)) {
  console.log(piece.id, shown(piece), "of", ...piece.topLogprobs!.map(shown));
}
