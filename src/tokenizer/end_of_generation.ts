import { TokenType, type Vocabulary } from "./vocabulary.ts";

/**
 * Texts that end an answer, whatever the file's metadata says: chat models are
 * often converted with an EOS that their chats never use. The list is
 * llama.cpp's, with the tokens that begin another file of a code model.
 */
const endings: readonly string[] = [
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|eom_id|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<end_of_turn>",
  "<end_of_utterance>",
  "<\uff5cend\u2581of\u2581sentence\uff5c>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "<eos>",
  "</s>",
  "<|fim_pad|>",
  "<fim-pad>",
  "<fim_pad>",
  "<PAD>",
  "[PAD]",
  "<|fim_repo|>",
  "<|repo_name|>",
  "<fim-repo>",
  "<REPO>",
  "<reponame>",
  "<|file_sep|>",
];

/**
 * Ids that end an answer: those that the file names, and special or
 * user-defined tokens with a well-known text. A plain token such as `</s>` in
 * a vocabulary for HTML does not count.
 */
export function findEndOfGeneration(
  vocabulary: Vocabulary,
  named: readonly (number | undefined)[],
): Set<number> {
  const ids = new Set<number>();
  for (const id of named) if (id !== undefined) ids.add(id);
  for (const text of endings) {
    const id = vocabulary.idOf(text);
    if (id !== undefined && vocabulary.types[id] !== TokenType.normal) {
      ids.add(id);
    }
  }
  return ids;
}
