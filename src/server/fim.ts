/** Prompts to fill in the middle of a file, in the form that the model's special tokens give it. */
import { RequestError } from "./errors.ts";
import { mostCharacters } from "../generate/text_length.ts";
import type { LanguageModel } from "../generate/language_model.ts";

/** Another file that may help. */
export interface FimFile {
  readonly filename?: string;
  readonly text: string;
}

/** What is around the place to be filled in. */
export interface FimContext {
  /** What comes before it: a text, or ids */
  readonly prefix: string | readonly number[];
  readonly suffix: string;
  /** Other files of the same repository */
  readonly files?: readonly FimFile[];
}

/** What the repository and the file are called, whose names nobody sends. */
const repositoryName = "myproject", fileName = "filename";
/** Says of files where another begins, to models that have no token for it. */
const snippet = "\n--- snippet ---\n";

/**
 * The ids of a prompt after which a model writes what belongs between prefix
 * and suffix. What does not fit the context beside `maxTokens` is left out: of
 * other files the first of it, of the prefix its beginning and of the suffix its
 * end, of which three quarters and one quarter of the room are kept at least.
 *
 * @throws {RequestError} 501 where the model has no tokens for it; `param` asks for it
 */
export function fimPrompt(
  { tokenizer, engine: { contextSize } }: LanguageModel,
  { prefix, suffix, files = [] }: FimContext,
  maxTokens: number,
  param: string,
): number[] {
  const { fim, bos, addBos } = tokenizer;
  if (!fim) {
    throw new RequestError(
      501,
      `Cannot use ${param}: the model's vocabulary has no tokens for a prefix, a suffix and a middle (FIM)`,
      { param },
    );
  }
  const plain = (text: string) => tokenizer.encode(text, { addSpecial: false });
  // What has no room in any case is not looked at.
  const most = mostCharacters(tokenizer, contextSize);
  const before = typeof prefix === "string"
    ? plain(prefix.slice(-most))
    : prefix;
  const behind = plain(suffix.slice(0, most));
  const begin = addBos ? [bos!] : [];
  const written = maxTokens < 0
    ? Math.floor(contextSize / 4)
    : Math.min(maxTokens, Math.floor(contextSize / 2));
  // Three tokens are between the parts, and one at least is written.
  const room = contextSize - begin.length - 3 - Math.max(1, written);
  const keptBefore = Math.min(
    before.length,
    Math.max(room - behind.length, Math.ceil(3 * room / 4)),
  );
  const keptBehind = Math.min(behind.length, room - keptBefore);
  const kept = lastFiles(files, most);
  const others = kept.length > 0 ? repository(kept) : [];
  return [
    ...begin,
    ...lastOf(others, room - keptBefore - keptBehind),
    fim.prefix,
    ...lastOf(before, keptBefore),
    fim.suffix,
    ...behind.slice(0, keptBehind),
    fim.middle,
  ];

  /** The other files, up to where the one in question begins. */
  function repository(files: readonly FimFile[]): number[] {
    const named = (
      token: number,
      name: string,
    ) => [token, ...plain(`${name}\n`)];
    const { repository, separator } = fim!;
    return [
      ...repository === undefined ? [] : named(repository, repositoryName),
      ...files.flatMap(({ filename = "tmp", text }) => [
        ...separator === undefined
          ? plain(snippet)
          : named(separator, filename),
        ...plain(text),
      ]),
      ...separator === undefined ? [] : named(separator, fileName),
    ];
  }
}

/** The last so many characters of files. */
function lastFiles(files: readonly FimFile[], most: number): FimFile[] {
  let left = most;
  const kept: FimFile[] = [];
  for (const { filename, text } of files.toReversed()) {
    if (left <= 0) break;
    kept.unshift({ filename: filename?.slice(-left), text: text.slice(-left) });
    left -= text.length + (filename?.length ?? 0) + 1;
  }
  return kept;
}

function lastOf(ids: readonly number[], count: number): readonly number[] {
  return ids.slice(Math.max(0, ids.length - count));
}
