import { fimTexts } from "./fim_tokens.ts";
import { TokenType, type Vocabulary } from "./vocabulary.ts";

/** Texts of tokens that end an answer, whatever a file's metadata says: chat models are often converted with an EOS that their chats never use. The list is llama.cpp's. */
export const endings: readonly string[] = [
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<|flush|>",
  "<|calls|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|eom_id|>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "<|end_of_text|>",
  "<end_of_utterance>",
  "<eos>",
  "<turn|>",
  "<|tool_response>",
  "<\uff5cend\u2581of\u2581sentence\uff5c>",
  "[e~[",
  // What pads or begins another file of a code model.
  "<|fim_pad|>",
  "<fim-pad>",
  "<fim_pad>",
  "<PAD>",
  "[PAD]",
  ...fimTexts.repository,
  ...fimTexts.separator,
];

/** Tokens of gpt-oss that its answers show. */
const shown: readonly string[] = [
  "<|channel|>",
  "<|message|>",
  "<|start|>",
  "<|constrain|>",
];

/** Ids of tokens by what their texts say, where a vocabulary has them. */
function idsOf(
  vocabulary: Vocabulary,
  texts: readonly string[],
): number[] {
  return texts.map((text) => vocabulary.idOf(text))
    .filter((id) => id !== undefined);
}

/**
 * Ids that end an answer: those that the file names, and tokens with a
 * well-known text. `</s>` is one where it is no plain token: in a vocabulary
 * for HTML it is.
 */
export function findEndOfGeneration(
  vocabulary: Vocabulary,
  named: readonly (number | undefined)[],
): Set<number> {
  const ids = new Set(idsOf(vocabulary, endings));
  for (const id of idsOf(vocabulary, ["</s>"])) {
    if (vocabulary.types[id] !== TokenType.normal) ids.add(id);
  }
  // The answers of these have parts, which <|end|> ends.
  const has = (text: string) => vocabulary.idOf(text) !== undefined;
  if (
    has("<|return|>") && has("<|call|>") || has("<|calls|>") && has("<|flush|>")
  ) ids.delete(vocabulary.idOf("<|end|>")!);
  for (const id of named) if (id !== undefined) ids.add(id);
  return ids;
}

/**
 * The types that tokens with well-known texts have, where a vocabulary says
 * otherwise: files are often converted with wrong ones, and a text that ends a
 * turn must not be spelled out, and end it, in what a user writes.
 */
export function correctedTypes(vocabulary: Vocabulary): Map<number, TokenType> {
  const types = new Map<number, TokenType>();
  const put = (texts: readonly string[], type: TokenType) => {
    for (const id of idsOf(vocabulary, texts)) {
      if (vocabulary.types[id] !== type) types.set(id, type);
    }
  };
  put(
    [
      ...endings,
      ...fimTexts.prefix,
      ...fimTexts.suffix,
      ...fimTexts.middle,
    ],
    TokenType.control,
  );
  put(shown, TokenType.userDefined);
  return types;
}
