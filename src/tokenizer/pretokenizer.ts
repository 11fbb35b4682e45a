import { UnsupportedError } from "../errors.ts";

/** How a byte-level vocabulary's texts are cut into words before merging. */
export interface Pretokenizer {
  /** Applied one after the other; each cuts what the ones before left, and what it does not match is a word too. */
  readonly patterns: readonly RegExp[];
  /** Whether a word that is a token is taken whole, without merging. */
  readonly ignoreMerges: boolean;
  /** Whether BOS comes first where the file does not say. */
  readonly addBos: boolean;
}

// Python and Rust mean the Unicode property by \s; JavaScript's \s differs from
// it in U+FEFF and U+0085.
const gpt2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const digit = /\p{N}/gu;

/** Llama 3 keeps up to three digits together, Qwen 2 one. */
function llama3(digits: string): RegExp {
  return new RegExp(
    [
      "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]",
      "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
      digits,
      " ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*",
      "\\p{White_Space}*[\\r\\n]+",
      "\\p{White_Space}+(?!\\P{White_Space})",
      "\\p{White_Space}+",
    ].join("|"),
    "gu",
  );
}

const plain = { ignoreMerges: false, addBos: false };

/** What llama.cpp does for each value of `tokenizer.ggml.pre`, grouped by what is the same. */
const groups: readonly [names: string[], pretokenizer: Pretokenizer][] = [
  [["default"], {
    patterns: [/[\p{P}$+<=>^~|]+/gu, gpt2, /\p{N}+/gu, /[0-9]{3}/gu],
    ...plain,
  }],
  [["gpt-2", "mpt", "olmo", "phi-2"], { patterns: [gpt2], ...plain }],
  [["command-r", "refact", "smollm", "starcoder"], {
    patterns: [digit, gpt2],
    ...plain,
  }],
  [["llama-bpe", "llama-v3", "llama3"], {
    patterns: [llama3("\\p{N}{1,3}")],
    ignoreMerges: true,
    addBos: true,
  }],
  [["dbrx", "smaug-bpe"], { patterns: [llama3("\\p{N}{1,3}")], ...plain }],
  [["deepseek-r1-qwen", "qwen2", "stablelm2"], {
    patterns: [llama3("\\p{N}")],
    ...plain,
  }],
];

const pretokenizers = new Map<string, Pretokenizer>(
  groups.flatMap(([names, pretokenizer]) =>
    names.map((name) => [name, pretokenizer] as const)
  ),
);

/**
 * The pretokenizer that `tokenizer.ggml.pre` names.
 *
 * @throws {UnsupportedError} The name is not known.
 */
export function pretokenizerNamed(name: string): Pretokenizer {
  const pretokenizer = pretokenizers.get(name);
  if (!pretokenizer) {
    throw new UnsupportedError(
      `Cannot run tokenizer.ggml.pre ${JSON.stringify(name)}: known are ${
        [...pretokenizers.keys()].sort().join(", ")
      }`,
    );
  }
  return pretokenizer;
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
    parts.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}
