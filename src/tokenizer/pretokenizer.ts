/** How a vocabulary's texts are cut into words before merging. */
import { UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";

/** How a text becomes words, and these symbols that merge. */
export interface Pretokenizer {
  /** Applied one after the other; each cuts what the ones before left, and what it does not match is a word too. */
  readonly patterns: readonly RegExp[];
  /** Whether a word that is a token is taken whole, without merging. */
  readonly ignoreMerges: boolean;
  /** Whether BOS comes first where the file does not say. */
  readonly addBos: boolean;
  /** Whether tokens are texts as they are, with byte tokens such as `<0x0A>` for what has none, instead of bytes as characters. */
  readonly isRaw: boolean;
  /** Whether a raw vocabulary writes spaces as U+2581. */
  readonly escapesSpaces: boolean;
}

/** What llama.cpp does for some values of `tokenizer.ggml.pre`. */
interface Row extends Partial<Omit<Pretokenizer, "patterns">> {
  readonly names: readonly string[];
  /** Patterns as tokenizer.json has them */
  readonly cuts: readonly string[];
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = String.raw`\s+(?!\S)|\s+`;
const lines = String.raw`\s*[\r\n]+`;
const others = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`;
const word = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`;

const gpt2 = String
  .raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|${spaces}`;
const digit = String.raw`\p{N}`;
const upTo3Digits = String.raw`\p{N}{1,3}`;

/** Llama 3 keeps up to three digits together, Qwen 2 one. */
function llama3(digits: string): string {
  return [contractions, word, digits, others, lines, spaces].join("|");
}

/** Words of letters by case, as Tekken and the o200k of GPT-4o cut them; `letters` has a place for a condition. */
function byCase(
  { suffix = "", digits = upTo3Digits, condition = "", end = "/" } = {},
): string {
  const first = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}${condition}]`;
  const rest = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}${condition}]`;
  const before = String.raw`[^\r\n\p{L}\p{N}]?`;
  return [
    `${before}${first}*${rest}+${suffix}`,
    `${before}${first}+${rest}*${suffix}`,
    digits,
    String.raw` ?[^\s\p{L}\p{N}]+[\r\n${end}]*`,
    lines,
    spaces,
  ].join("|");
}

const o200k = byCase({ suffix: `${contractions}?` });

const cjk = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
const deepseek3 = [
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+`,
  String.raw`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`,
  String.raw` ?[\p{P}\p{S}]+`,
];
/** Groups of three digits from the right. */
const groupedDigits = String.raw`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`;
const notSentences =
  " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";

/**
 * Every value of `tokenizer.ggml.pre` that llama.cpp knows (`llama-vocab.cpp`),
 * by what is the same. Where its source says what a file's tokenizer.json has,
 * this is it: llama.cpp's own patterns come near it only, for want of classes
 * of letters and of marks.
 */
const rows: readonly Row[] = [
  {
    names: ["default"],
    cuts: [
      String.raw`[\p{P}\$\+<=>\^~\|]+`,
      gpt2,
      String.raw`\p{N}+`,
      "[0-9][0-9][0-9]",
    ],
  },
  {
    // deno-fmt-ignore
    names: [
      "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "a.x-4.0", "mellum", "modern-bert",
      "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe",
    ],
    cuts: [gpt2],
  },
  {
    names: [
      "smollm",
      "starcoder",
      "refact",
      "command-r",
      "codeshell",
      "exaone",
      "minerva-7b",
      "mellum2",
    ],
    cuts: [digit, gpt2],
  },
  {
    names: [
      "llama-bpe",
      "llama3",
      "llama-v3",
      "falcon3",
      "falcon-h1",
      "pixtral",
      "midm-2.0",
      "lfm2",
      "jina-v5-nano",
    ],
    cuts: [llama3(upTo3Digits)],
    ignoreMerges: true,
    addBos: true,
  },
  { names: ["dbrx", "smaug-bpe", "chatglm-bpe"], cuts: [llama3(upTo3Digits)] },
  { names: ["glm4", "glm5"], cuts: [llama3(upTo3Digits)], ignoreMerges: true },
  {
    names: [
      "qwen2",
      "stablelm2",
      "deepseek-r1-qwen",
      "kormo",
      "f2llmv2",
      "megrez",
      "hunyuan",
      "solar-open",
      "grok-2",
    ],
    cuts: [llama3(digit)],
  },
  {
    names: ["qwen35"],
    cuts: [[
      contractions,
      String.raw`[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+`,
      digit,
      String.raw` ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*`,
      lines,
      spaces,
    ].join("|")],
  },
  {
    names: ["ufakzeka"],
    cuts: [[word, digit, others, lines, spaces].join("|")],
  },
  { names: ["laguna"], cuts: [String.raw`[^\n]+|[\n]+`, llama3(digit)] },
  {
    names: ["minicpm5"],
    cuts: [upTo3Digits, llama3(String.raw`\p{N}+`)],
    ignoreMerges: true,
  },
  {
    names: ["seed-coder"],
    cuts: [[
      contractions,
      word,
      String.raw`\p{N}{1}`,
      String.raw` ?[^\s\p{L}\p{N}\r\n]+`,
      lines,
      spaces,
    ].join("|")],
  },
  {
    names: ["bailingmoe", "bailingmoe2", "llada-moe"],
    cuts: [[
      "'(?i:[sdmt]|ll|ve|re)",
      String.raw`[^\r\n\p{L}\p{N}]?+\p{L}+`,
      digit,
      String.raw` ?[^\s\p{L}\p{N}]++[\r\n]*`,
      String.raw`\s*[\r\n]`,
      spaces,
    ].join("|")],
  },
  {
    names: ["exaone-moe"],
    cuts: [[
      contractions,
      String.raw`[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`,
      digit,
      String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]?`,
      String.raw`\s*[\r\n]`,
      spaces,
    ].join("|")],
  },
  {
    names: ["jais-2"],
    cuts: [[
      contractions,
      word,
      upTo3Digits,
      others,
      lines,
      ...[512, 256, 128, 64, 32, 16, 8, 4, "1,2"].map((n) =>
        String.raw`\s{${n}}(?!\S)`
      ),
      String.raw`\s{1}`,
    ].join("|")],
  },
  {
    names: ["tekken"],
    cuts: [byCase({ digits: digit })],
    ignoreMerges: true,
    addBos: true,
  },
  {
    names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
    cuts: [o200k],
  },
  { names: ["granite-embed-multi-97m"], cuts: [o200k], ignoreMerges: true },
  {
    names: ["tiny_aya", "cohere2moe"],
    cuts: [String.raw`\d{1,3}(?=(?:\d{3})*\b)`, o200k],
  },
  {
    names: ["youtu"],
    cuts: [
      "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" +
      cjk,
      byCase({ suffix: `${contractions}?`, digits: digit }),
    ],
    ignoreMerges: true,
  },
  {
    names: ["kimi-k2"],
    cuts: [
      String.raw`[\p{Han}]+|` +
      byCase({
        suffix: `${contractions}?`,
        condition: String.raw`&&[^\p{Han}]`,
        end: "",
      }),
    ],
  },
  {
    names: ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
    cuts: [
      upTo3Digits,
      cjk,
      [deepseek3.join("|") + String.raw`[\r\n]*`, lines, spaces].join("|"),
    ],
  },
  {
    names: ["spark2_5"],
    cuts: [
      upTo3Digits,
      cjk,
      [...deepseek3, String.raw`[\r\n]`, spaces].join("|"),
      digit,
    ],
  },
  {
    names: ["afmoe"],
    cuts: [
      groupedDigits,
      "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+",
      [deepseek3.join("|") + String.raw`[\r\n]*`, lines, spaces].join("|"),
    ],
  },
  {
    names: ["deepseek-llm"],
    cuts: [
      String.raw`[\r\n]`,
      // deno-fmt-ignore
      "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
      "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
      String.raw`\s+$`,
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      String.raw`\p{N}+`,
    ],
  },
  {
    names: ["deepseek-coder"],
    cuts: [
      String.raw`[\r\n]`,
      String.raw`\s?\p{L}+`,
      String.raw`\s?\p{P}+`,
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      digit,
    ],
  },
  {
    names: ["falcon"],
    cuts: [String.raw`[\p{P}\$\+<=>\^~\|${"`"}]+`, gpt2, "[0-9][0-9][0-9]"],
  },
  { names: ["bloom", "poro-chat", "gpt3-finnish"], cuts: [notSentences] },
  { names: ["viking"], cuts: [notSentences, digit] },
  {
    names: ["superbpe"],
    cuts: [String.raw`\p{N}+`, String.raw`(?=(\d{3})+(?!\d))`],
  },
  {
    names: ["chameleon"],
    cuts: [
      "<sentinel:[0-9]+>",
      "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
      String.raw`([\t\n]|    |  )`,
      digit,
      String.raw`[\p{P}!-/:-@\[-${"`"}{-~]`,
      gpt2,
    ],
    addBos: true,
  },
  {
    names: ["gemma4", "granite-embed-multi-311m"],
    cuts: [String.raw`[^\n]+|[\n]+`],
    addBos: true,
    isRaw: true,
    escapesSpaces: true,
  },
  {
    names: ["sarvam-moe"],
    cuts: [String.raw`[^\n]+|[\n]+`],
    isRaw: true,
    escapesSpaces: true,
  },
  { names: ["whitespace"], cuts: [String.raw`\S+`], isRaw: true },
];

const rowsByName: ReadonlyMap<string, Row> = new Map(
  rows.flatMap((row) => row.names.map((name) => [name, row])),
);

/** Every value of `tokenizer.ggml.pre` that is known. */
export const pretokenizerNames: readonly string[] = [...rowsByName.keys()]
  .sort();

/**
 * The pretokenizer that `tokenizer.ggml.pre` names.
 *
 * @throws {UnsupportedError} The name is not known.
 */
export function pretokenizerNamed(name: string): Pretokenizer {
  const row = rowsByName.get(name);
  if (!row) {
    throw new UnsupportedError(
      `Cannot run tokenizer.ggml.pre ${
        printable(JSON.stringify(name))
      }: known are ${pretokenizerNames.join(", ")}`,
    );
  }
  const { names: _, cuts, ...flags } = row;
  return {
    ignoreMerges: false,
    addBos: false,
    isRaw: false,
    escapesSpaces: false,
    ...flags,
    patterns: cuts.map(compile),
  };
}

/** GPT-2's pattern, which tokenizer.json's `ByteLevel` stands for. */
export const gpt2Cut: string = gpt2;

/** The name of a way to cut texts, by patterns of a tokenizer.json; one that ignores merges as is asked, if there is one. */
export function pretokenizerWith(
  cuts: readonly string[],
  ignoreMerges: boolean,
): { name: string; ignoreMerges: boolean } | undefined {
  const spelled = (cuts: readonly string[]) =>
    JSON.stringify(cuts).replaceAll("\\\\r", "\\r").replaceAll("\\\\n", "\\n");
  const wanted = spelled(cuts);
  const found = rows.filter((row) => spelled(row.cuts) === wanted)
    .map(({ names, ignoreMerges = false }) => ({
      name: names[0],
      ignoreMerges,
    }));
  return found.find((each) => each.ignoreMerges === ignoreMerges) ?? found[0];
}

/**
 * A pattern of Oniguruma's as JavaScript's. There `\s`, `\d` and `\b` mean
 * Unicode's properties, from which JavaScript's differ (U+FEFF and U+0085 for
 * `\s`); no possessive quantifier in the table changes what is matched.
 */
function compile(pattern: string): RegExp {
  const source = pattern
    .replace(
      /\(\?i:([^)]*)\)/g,
      (_, alternatives: string) =>
        `(?:${
          alternatives.replace(
            /\[([a-z]+)\]|[a-z]/g,
            (letter, letters = letter) =>
              `[${letters}${letters.toUpperCase()}]`,
          )
        })`,
    )
    .replace(/([?+])\+/g, "$1")
    .replace(
      /\[([^\]]*)&&\[\^\\p\{Han\}\]\]/g,
      (_, letters: string) => String.raw`(?:(?!\p{Script=Han})[${letters}])`,
    )
    .replaceAll(String.raw`\p{Han}`, String.raw`\p{Script=Han}`)
    .replaceAll(String.raw`\s`, String.raw`\p{White_Space}`)
    .replaceAll(String.raw`\S`, String.raw`\P{White_Space}`)
    .replaceAll(String.raw`\d`, String.raw`\p{Nd}`)
    .replaceAll(
      String.raw`\b`,
      String.raw`(?![\p{Alphabetic}\p{M}\p{Nd}\p{Pc}])`,
    );
  return new RegExp(source, "gu");
}

/** Cuts a text into words; together they are the text. */
export function splitWords(
  text: string,
  patterns: readonly RegExp[],
): string[] {
  let words = text === "" ? [] : [text];
  for (const pattern of patterns) {
    words = words.flatMap((word) => splitBy(word, pattern));
  }
  return words;
}

function splitBy(text: string, pattern: RegExp): string[] {
  const parts: string[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    if (match[0]) parts.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}
