/** A small byte-level vocabulary that is cut by any pre-tokenizer, and texts to cut. */
import type { MetadataEntry } from "../../src/formats/gguf/gguf_file.ts";
import { pretokenizerNamed } from "../../src/tokenizer/pretokenizer.ts";
import { arrayEntry, numberEntry, stringEntry } from "./small_vocabularies.ts";
import goldens from "./goldens/hugging_face.json" with { type: "json" };

/**
 * The metadata of a file with this `tokenizer.ggml.pre`: the tokens and merges
 * of the first model of the goldens, which was trained with GPT-2's words, or of
 * the last, whose tokens are no bytes.
 */
export function pretokenizerMetadata(
  pre: string,
): Record<string, MetadataEntry> {
  const { isRaw } = pretokenizerNamed(pre);
  const { tokens, merges } = isRaw ? goldens.models.at(-1)! : goldens.models[0];
  const texts = [
    ...tokens.split(" "),
    ...merges.map((merge) => merge.replace(" ", "")),
  ];
  return {
    "general.architecture": stringEntry("llama"),
    "tokenizer.ggml.model": stringEntry("gpt2"),
    "tokenizer.ggml.pre": stringEntry(pre),
    "tokenizer.ggml.tokens": arrayEntry("string", texts),
    "tokenizer.ggml.token_type": arrayEntry(
      "int32",
      texts.map((text, id) => /^<0x..>$/.test(text) ? 6 : id < 2 ? 3 : 1),
    ),
    "tokenizer.ggml.merges": arrayEntry("string", merges),
    "tokenizer.ggml.bos_token_id": numberEntry(0),
    "tokenizer.ggml.eos_token_id": numberEntry(1),
  };
}

/**
 * Texts of letters with and without case, digits, signs and blanks; no marks and
 * no modifiers, about which llama.cpp and the files that it follows are not one.
 */
export const pretokenizerTexts: readonly string[] = [
  "Hello world",
  " lead and  two   three    four",
  "tab\there\t\tx\n\n\nlines \n  \n end  ",
  "\r\n\r\nCRLF\r\n",
  "camelCase HTTPServer XMLHttp iPhone McDonald",
  "I'm you'll WE'RE don't 's 'S'T x'dy",
  "12345 1234 123 12 1 1234567890 3.14 1,000,000",
  "a1b22c333d4444e 2nd 3rd",
  "!!! ??? ... ,,, --- *** ((nested)) [x] {y} <z> a.b/c:d;e",
  "/usr/local/bin\n//comment/\n",
  "def f(x):\n    if x:\n        return x + 1\n",
  "$100 +5 <=> ^~| `code` #tag @user _x_ ~y",
  "Привет МИР мир. Ёлка",
  "αβγ ΑΒΓ Ωmega",
  "今日は天気 東京 ひらがな カタカナ ヴ",
  "안녕하세요 세계 ㄱㄴ",
  "中文，标点。！？“引号”…—",
  "שלום עולם مرحبا",
  "½ ² Ⅻ ٣٤ ५६",
  "😀👍 🇩🇪 ♥ → ∑ €5 £ ©",
  "mixed混合text文字123数字",
  "\u00a0nbsp\u3000wide\u2003em",
  "x\u0000y\u0007z",
  "",
  " ",
  "   ",
  "\n",
  "a",
  "«quoted» ‚low‘ –dash—",
  "https://example.com/a?b=c&d=e#f",
  "ÄÖÜ äöü ß Éa éA ÀB",
];
