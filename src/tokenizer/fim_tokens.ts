/** Tokens that frame the parts of a file to fill in (fill in the middle, FIM). */
import type { Tokenizer } from "./tokenizer.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Ids of such tokens. */
export type FimTokens = NonNullable<Tokenizer["fim"]>;

/** A part of a file, by what its token is for. */
export type FimPart = keyof FimTokens;

/** Texts of the tokens, whatever a file's metadata says. The lists are llama.cpp's. */
export const fimTexts: Readonly<Record<FimPart, readonly string[]>> = {
  prefix: [
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<\uff5cfim\u2581begin\uff5c>",
    "<PRE>",
    "\u2581<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
  ],
  suffix: [
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<\uff5cfim\u2581hole\uff5c>",
    "<SUF>",
    "\u2581<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
  ],
  middle: [
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<\uff5cfim\u2581end\uff5c>",
    "<MID>",
    "\u2581<MID>",
    "<|code_middle|>",
    "<|middle|>",
  ],
  repository: [
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
  ],
  separator: ["<|file_sep|>"],
};

/** The tokens: those that the file names, else those with well-known texts; undefined where one that is needed is not there. */
export function findFimTokens(
  vocabulary: Vocabulary,
  named: Partial<Record<FimPart, number>>,
): FimTokens | undefined {
  const idOf = (part: FimPart) =>
    named[part] ??
      fimTexts[part].map((text) => vocabulary.idOf(text))
        .find((id) => id !== undefined);
  const prefix = idOf("prefix"), suffix = idOf("suffix");
  const middle = idOf("middle");
  if (prefix === undefined || suffix === undefined || middle === undefined) {
    return undefined;
  }
  return {
    prefix,
    suffix,
    middle,
    repository: idOf("repository"),
    separator: idOf("separator"),
  };
}
