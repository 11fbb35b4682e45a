/**
 * Text to token ids and back: SentencePiece BPE and byte-level BPE, and the
 * templates that write a chat as one text.
 *
 * @module
 */
export { ChatTemplate } from "./chat_template.ts";
export type {
  ChatMessage,
  ChatTemplateTokens,
  RenderOptions,
} from "./chat_template.ts";
export { Detokenizer, type DetokenizerOptions } from "./detokenizer.ts";
export { tokenizerFromGguf } from "./gguf.ts";
export {
  type SentencePieceOptions,
  tokenizerFromSentencePiece,
} from "./sentencepiece_model.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
