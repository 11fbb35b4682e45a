/**
 * From logits to tokens, and from text to where it stops.
 *
 * @module
 */

export {
  logSoftmaxAt,
  logSumExp,
  type SampledToken,
  topLogprobs,
} from "./logprobs.ts";
export {
  type CheckedSamplingOptions,
  checkSamplingOptions,
  defaultSamplers,
  parseSamplers,
  type SamplerName,
  type SamplingOptions,
} from "./options.ts";
export { tokensContaining } from "./penalties.ts";
export { makeSampler, type Sampler } from "./sampler.ts";
export type { Logits, TopLogits } from "./logits.ts";
export { checkTopLogits, topLogits } from "./top_logits.ts";
export { type StopResult, StopStrings } from "./stop_strings.ts";
