/**
 * culm runs ReLU-sparse language models in one sandbox: WASM kernels on every
 * core, no native code, no permission needed. This entry loads a model and
 * generates; `./gguf` reads files, `./plan` says what runs where, `./convert`
 * makes files, `./lab` measures; `@culm/tiny` is a small model.
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * for await (const piece of model.generate("Once upon a time", { maxTokens: 8 })) {
 *   console.log(piece.text);
 * }
 * ```
 *
 * @module
 */
export {
  ContextError,
  CulmError,
  FormatError,
  GpuError,
  GpuMemoryError,
  LimitError,
  PlaceError,
  TokenizerError,
  UnsupportedError,
  UsageError,
} from "./src/errors.ts";
export type { OptionSpec } from "./src/options.ts";
export { load } from "./src/load/load.ts";
export { type LoadOptions, loadOptions } from "./src/load/load_options.ts";
export type { ModelSource } from "./src/load/model_source.ts";
export type { ByteSource } from "./src/bytes/byte_source.ts";
export type { Progress } from "./src/places/load_progress.ts";
export { parseSparsity, type Sparsity } from "./src/plan/sparsity.ts";
export type { CacheType } from "./src/places/cache_type.ts";
export { type ChatOptions, chatOptions } from "./src/generate/chat_options.ts";
export { LanguageModel } from "./src/generate/language_model.ts";
export type { ChatTurn, TextPart } from "./src/generate/chat_messages.ts";
export type { EmbedOptions } from "./src/generate/embed.ts";
export {
  type GenerateOptions,
  type Piece,
  type Summary,
  textOptions,
} from "./src/generate/generate.ts";
export type { Session } from "./src/generate/session.ts";
export { speculationOptions } from "./src/generate/speculation.ts";
export {
  parseSamplers,
  type SamplerName,
  type SamplingOptions,
  samplingOptions,
} from "./src/sampling/options.ts";
export type { SampledToken } from "./src/sampling/logprobs.ts";
export {
  type Engine,
  type SequenceOptions,
  sequenceOptions,
} from "./src/engine/engine.ts";
export type { Sequence } from "./src/engine/sequence.ts";
export {
  type DecodeOptions,
  type EncodeOptions,
  encodeOptions,
  type Tokenizer,
} from "./src/tokenizer/tokenizer.ts";
