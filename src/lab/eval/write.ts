import type { Sequence } from "../../engine/sequence.ts";
import { makeSampler } from "../../sampling/sampler.ts";
import { StopStrings } from "../../sampling/stop_strings.ts";
import { Detokenizer } from "../../tokenizer/detokenizer.ts";
import type { EvaluatedModel } from "./evaluated_model.ts";
import type { EvalTask } from "./task.ts";

/** What of a task says how texts are written. */
export type Writing = Pick<EvalTask, "samples" | "maxTokens" | "until">;

/**
 * What the model writes behind a prompt: the likeliest tokens, or, of several
 * texts, tokens drawn as lm-evaluation-harness draws them, by seeds 0, 1, …
 * The prompt is cut at the start where it leaves no room.
 */
export async function writeTexts(
  model: EvaluatedModel,
  { samples = 1, maxTokens = 256, until = [] }: Writing,
  prompt: readonly number[],
  signal?: AbortSignal,
): Promise<string[]> {
  const { engine } = model;
  const most = Math.min(maxTokens, engine.contextSize >> 1);
  const ids = prompt.slice(most - engine.contextSize);
  using start = await engine.startSequence(ids.slice(0, -1), { signal });
  const texts = Array.from({ length: samples }, async (_, seed) => {
    using sequence = start.fork();
    const sampling = samples === 1
      ? { temperature: 0 }
      : { temperature: 0.2, topP: 0.95, topK: 0, minP: 0, seed };
    return await write(model, sequence, ids, most, until, sampling, signal);
  });
  return await Promise.all(texts);
}

async function write(
  { engine, tokenizer }: EvaluatedModel,
  sequence: Sequence,
  prompt: readonly number[],
  most: number,
  until: readonly string[],
  sampling: Parameters<typeof makeSampler>[0],
  signal?: AbortSignal,
): Promise<string> {
  const sampler = makeSampler(sampling, tokenizer.vocabSize, {
    logprob: false,
  });
  const stops = new StopStrings(until);
  const detokenizer = new Detokenizer(tokenizer);
  const history = [...prompt];
  let text = "";
  for (let written = 0; written < most; written++) {
    const last = history.slice(-1);
    const [logits] = await engine.evaluate(sequence, last, "last", signal);
    const { id } = sampler.sample(logits, history);
    history.push(id);
    if (tokenizer.isEndOfGeneration(id)) break;
    const pushed = stops.push(detokenizer.push(id));
    text += pushed.text;
    if (pushed.stopped !== undefined) return text;
  }
  const last = stops.push(detokenizer.flush());
  return text + last.text + (last.stopped === undefined ? stops.flush() : "");
}
