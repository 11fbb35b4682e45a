import { UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject } from "../formats/json.ts";

/** The steps of a `Sequence`, or the one step that there is. */
export function steps(value: unknown): JsonObject[] {
  if (!isObject(value)) return [];
  if (value.type !== "Sequence") return [value];
  const inner = value.normalizers ?? value.pretokenizers ?? value.processors;
  return Array.isArray(inner) ? inner.filter(isObject) : [];
}

/**
 * The value of `tokenizer.ggml.pre`: llama.cpp's name for how texts are cut into words.
 *
 * @param ignoreMerges Whether a word that is a token is taken whole.
 * @throws {UnsupportedError} where it has no name here
 */
export function pretokenizerOf(
  preTokenizer: unknown,
  ignoreMerges: boolean,
  name: string,
): string {
  const cuts = steps(preTokenizer);
  const last = cuts.pop();
  if (last?.type === "ByteLevel" && last.add_prefix_space !== true) {
    const known = nameOf(cuts, last.use_regex !== false, ignoreMerges);
    if (known) return known;
  }
  throw new UnsupportedError(
    `Cannot convert ${name}: its pre_tokenizer ${
      printable(JSON.stringify(preTokenizer) ?? "missing")
    } is none of GPT-2's, SmolLM's, Llama 3's and Qwen 2's`,
  );
}

function nameOf(
  cuts: readonly JsonObject[],
  isGpt2: boolean,
  ignoreMerges: boolean,
): string | undefined {
  if (isGpt2 && cuts.length === 0) return "gpt-2";
  if (cuts.length !== 1) return undefined;
  const [cut] = cuts;
  if (isGpt2) {
    const isDigits = cut.type === "Digits" && cut.individual_digits === true;
    return isDigits ? "smollm" : undefined;
  }
  const pattern = isObject(cut.pattern) ? cut.pattern.Regex : undefined;
  if (cut.type !== "Split" || cut.behavior !== "Isolated") return undefined;
  // The two differ in how many digits stay together.
  if (pattern === llama3("\\p{N}{1,3}")) {
    return ignoreMerges ? "llama-bpe" : "dbrx";
  }
  return pattern === llama3("\\p{N}") && !ignoreMerges ? "qwen2" : undefined;
}

/** The pattern of Llama 3's file and of those that follow it. */
function llama3(digits: string): string {
  return [
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
    digits,
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*",
    "\\s*[\\r\\n]+",
    "\\s+(?!\\S)",
    "\\s+",
  ].join("|");
}
