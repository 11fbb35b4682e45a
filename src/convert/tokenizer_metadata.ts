import { type Folder, readWhole } from "../bytes/folder.ts";
import {
  FormatError,
  TokenizerError,
  UnsupportedError,
  UsageError,
} from "../errors.ts";
import { entry, type MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject, readObject } from "../formats/json.ts";
import { tokenizerFromGguf } from "../tokenizer/gguf.ts";
import { readSentencePieceModel } from "../tokenizer/sentencepiece_model.ts";
import { type TextRules, textRulesMetadata } from "../tokenizer/text_rules.ts";
import { TokenType } from "../tokenizer/vocabulary.ts";
import {
  type AddedToken,
  isScoreOrder,
  readTokenizerJson,
  scoresOf,
  type TokenizerJson,
  typesOf,
} from "./tokenizer_json.ts";

/** A vocabulary on its way into a file. */
interface Vocabulary {
  /** `tokenizer.ggml.model`: SentencePiece BPE or byte-level BPE */
  readonly model: "llama" | "gpt2";
  /** `tokenizer.ggml.pre` */
  readonly pre: string;
  readonly tokens: (string | undefined)[];
  /** SentencePiece's */
  readonly scores?: number[];
  readonly types: number[];
  /** Byte-level BPE's; SentencePiece's only where scores do not say as much */
  readonly merges?: string[];
  /** Texts of special tokens, where no config names others */
  readonly special: Readonly<Partial<Record<SpecialName, string>>>;
  /** Whether texts begin with the first special token, where no config says */
  readonly addBos?: boolean;
  /** Whether texts end with the second, likewise */
  readonly addEos?: boolean;
  readonly addSpacePrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  /** What GGUF has no keys for */
  readonly rules: TextRules;
}

/** A tokenizer as metadata, and what these cannot say, one sentence each. */
export interface TokenizerMetadata {
  readonly metadata: [string, MetadataEntry][];
  readonly notes: readonly string[];
}

/** Keys behind `tokenizer.`, and their values where there are any. */
type Entries = [string, MetadataEntry | undefined | false][];

type SpecialName = "bos" | "eos" | "unk" | "pad";

const idKeys: Readonly<Record<SpecialName, string>> = {
  bos: "bos_token_id",
  eos: "eos_token_id",
  unk: "unknown_token_id",
  pad: "padding_token_id",
};

/** What llama.cpp gives tokens that were added to a SentencePiece model, and those that fill up. */
const addedScore = -1000;
const fillerScore = -10000;

/**
 * The tokenizer of a Hugging Face folder, by the keys that llama.cpp writes:
 * `tokenizer.model` or `tokenizer.json`, and what `tokenizer_config.json` adds.
 *
 * @param config The model's `config.json`, which may name special tokens.
 * @param vocabSize Rows of the embedding; tokens without a name fill up to it.
 * @throws {UsageError} where the folder has no tokenizer
 * @throws {FormatError} where a file is damaged, or has more tokens than the model
 * @throws {UnsupportedError} for tokenizers that GGUF or culm do not have
 */
export async function tokenizerMetadata(
  folder: Folder,
  config: JsonObject,
  vocabSize: number,
): Promise<TokenizerMetadata> {
  const notes: string[] = [];
  const settings = await readObject(folder, "tokenizer_config.json") ?? {};
  const vocabulary = await readVocabulary(folder, settings, vocabSize, notes);
  const { tokens } = vocabulary;
  if (tokens.length > vocabSize) {
    throw new FormatError(
      `Cannot convert ${folder.name}: its tokenizer has ${tokens.length} tokens, the embedding ${vocabSize} rows`,
    );
  }
  fillUp(vocabulary, vocabSize);
  const { scores, merges } = vocabulary;
  const template = await chatTemplate(folder, settings);
  const addBos = settings.add_bos_token ?? vocabulary.addBos;
  const addEos = settings.add_eos_token ?? vocabulary.addEos;
  const { text, flag } = entry;
  const isLlama = vocabulary.model === "llama";
  const entries: Entries = [
    ["ggml.model", text(vocabulary.model)],
    ["ggml.pre", text(vocabulary.pre)],
    ["ggml.tokens", entry.texts(tokens as string[])],
    ["ggml.scores", scores && entry.reals(scores)],
    ["ggml.token_type", entry.wholes(vocabulary.types)],
    ["ggml.merges", merges && entry.texts(merges)],
    ...specialIds(vocabulary, settings, config),
    ["ggml.add_bos_token", typeof addBos === "boolean" && flag(addBos)],
    ["ggml.add_eos_token", typeof addEos === "boolean" && flag(addEos)],
    // Written where they differ from what a reader assumes of a SentencePiece model.
    [
      "ggml.add_space_prefix",
      isLlama && !vocabulary.addSpacePrefix && flag(false),
    ],
    [
      "ggml.remove_extra_whitespaces",
      vocabulary.removeExtraWhitespaces && flag(true),
    ],
    ["chat_template", template !== undefined && text(template)],
  ];
  const metadata = entries.flatMap(([key, value]): [string, MetadataEntry][] =>
    value ? [[`tokenizer.${key}`, value]] : []
  );
  metadata.push(...textRulesMetadata(vocabulary.rules));
  checkWritten(metadata, vocabulary, folder);
  return { metadata, notes };
}

/** What is written is checked as what is read. */
function checkWritten(
  metadata: readonly [string, MetadataEntry][],
  { tokens, special, addBos, addEos }: Vocabulary,
  folder: Folder,
): void {
  let tokenizer;
  try {
    tokenizer = tokenizerFromGguf({ metadata: new Map(metadata) });
  } catch (error) {
    if (!(error instanceof TokenizerError)) throw error;
    throw new FormatError(
      `Cannot convert ${folder.name}: nobody could read its vocabulary: ${
        error.message.replace(/^Cannot read the vocabulary: /, "")
      }`,
    );
  }
  const ends = [
    ["begin", tokenizer.addBos && addBos, tokenizer.bos, special.bos],
    ["end", tokenizer.addEos && addEos, tokenizer.eos, special.eos],
  ] as const;
  for (const [verb, isAdded, id, text] of ends) {
    if (!isAdded || id === undefined || tokens[id] === text) continue;
    throw new UnsupportedError(
      `Cannot convert ${folder.name}: its texts ${verb} with ${
        printable(text!)
      }, where the config names ${printable(tokens[id]!)}; GGUF has one key`,
    );
  }
}

async function readVocabulary(
  folder: Folder,
  settings: JsonObject,
  vocabSize: number,
  notes: string[],
): Promise<Vocabulary> {
  const hasJson = folder.files.has("tokenizer.json");
  if (folder.files.has("tokenizer.model")) {
    const bytes = await readWhole(folder, "tokenizer.model");
    if (!isTiktoken(bytes)) {
      const vocabulary = readSentencePiece(bytes);
      for (const token of await addedTokens(folder, settings)) {
        if (isRow(token, vocabSize, notes)) add(vocabulary, token, folder);
      }
      return vocabulary;
    }
    const what = `${folder.name}/tokenizer.model is tiktoken's`;
    if (!hasJson) {
      throw new UnsupportedError(
        `Cannot convert ${folder.name}: ${what}, and there is no tokenizer.json`,
      );
    }
    notes.push(`${what}: tokenizer.json is read instead`);
  }
  const json = await readObject(folder, "tokenizer.json");
  if (!json) {
    throw new UsageError(
      `Cannot find a tokenizer in ${folder.name}: it has neither tokenizer.model nor tokenizer.json`,
    );
  }
  return fromJson(json, `${folder.name}/tokenizer.json`, vocabSize, notes);
}

/** Whether a file has tiktoken's lines: bytes in base64, a space, a rank. */
function isTiktoken(bytes: Uint8Array): boolean {
  const start = new TextDecoder("latin1").decode(bytes.subarray(0, 256));
  return /^[A-Za-z0-9+/]+={0,2} \d+\r?\n/.test(start);
}

/** Whether the embedding has a row for an added token. */
function isRow(
  { id, text }: AddedToken,
  vocabSize: number,
  notes: string[],
): boolean {
  if (!(id >= vocabSize)) return true;
  notes.push(
    `added token ${
      printable(text)
    } has id ${id}, the embedding ${vocabSize} rows: left out`,
  );
  return false;
}

function readSentencePiece(bytes: Uint8Array): Vocabulary {
  const model = readSentencePieceModel(bytes);
  const { pieces, types } = model;
  // SentencePiece looks for them when it has put the space first.
  const ids = [...types.keys()].filter((id) =>
    types[id] === TokenType.userDefined
  );
  const userDefined = ids.length > 0 ? ids : undefined;
  return {
    model: "llama",
    pre: "default",
    tokens: pieces,
    scores: model.scores,
    types,
    special: {
      bos: model.bosPiece,
      eos: model.eosPiece,
      unk: pieces[types.indexOf(TokenType.unknown)],
    },
    addSpacePrefix: model.addSpacePrefix,
    removeExtraWhitespaces: model.removeExtraWhitespaces,
    rules: { added: { normalized: userDefined } },
  };
}

function fromJson(
  json: JsonObject,
  name: string,
  vocabSize: number,
  notes: string[],
): Vocabulary {
  const all = readTokenizerJson(json, name);
  const read = withoutRowless(all, vocabSize, notes);
  const common = {
    tokens: [...read.tokens],
    types: typesOf(read),
    special: { bos: read.first, eos: read.last, unk: read.unk },
    addBos: read.first !== undefined,
    addEos: read.last === undefined ? undefined : true,
    addSpacePrefix: read.addSpacePrefix,
    removeExtraWhitespaces: false,
    rules: read.rules,
  };
  const hasOrder = read.pre === undefined && isScoreOrder(read);
  const merges = hasOrder ? undefined : read.merges.map((pair, rank) => {
    if (pair.some((text) => text.includes(" "))) {
      throw new FormatError(
        `Cannot read ${name}: merge ${rank} has a space, which GGUF writes between its two tokens`,
      );
    }
    return pair.join(" ");
  });
  return read.pre === undefined
    ? {
      ...common,
      model: "llama",
      pre: "default",
      scores: scoresOf(read),
      merges,
    }
    : { ...common, model: "gpt2", pre: read.pre, merges };
}

/** Without added tokens for which the embedding has no rows. */
function withoutRowless(
  read: TokenizerJson,
  vocabSize: number,
  notes: string[],
): TokenizerJson {
  const added = read.added.filter((token) => isRow(token, vocabSize, notes));
  if (added.length === read.added.length) return read;
  const kept = new Set(added);
  const without = new Set(
    read.added.filter((token) => !kept.has(token)).map(({ id }) => id),
  );
  const tokens = read.tokens.map((text, id) =>
    without.has(id) ? undefined : text
  );
  while (tokens.length > 0 && tokens.at(-1) === undefined) tokens.pop();
  const flags = Object.entries(read.rules.added ?? {}).map(([name, ids]) =>
    [name, ids?.filter((id) => !without.has(id))] as const
  );
  const rules = { ...read.rules, added: Object.fromEntries(flags) };
  return { ...read, tokens, added, rules };
}

/** Tokens that other files add to a SentencePiece model. */
async function addedTokens(
  folder: Folder,
  settings: JsonObject,
): Promise<AddedToken[]> {
  const added: AddedToken[] = [];
  const ids = await readObject(folder, "added_tokens.json") ?? {};
  for (const [text, id] of Object.entries(ids)) {
    added.push({ id: Number(id), text, special: false });
  }
  const decoder = settings.added_tokens_decoder;
  for (const [id, token] of Object.entries(isObject(decoder) ? decoder : {})) {
    if (!isObject(token) || typeof token.content !== "string") continue;
    const special = token.special === true;
    added.push({ id: Number(id), text: token.content, special });
  }
  return added.sort((a, b) => a.id - b.id);
}

/** Gives an id the text of a token that was added to a SentencePiece model, whatever the model says of it. */
function add(
  { tokens, scores, types }: Vocabulary,
  { id, text, special }: AddedToken,
  folder: Folder,
): void {
  if (!Number.isInteger(id) || id < 0) {
    throw new FormatError(
      `Cannot convert ${folder.name}: added token ${
        printable(text)
      } has id ${id}, which is no id`,
    );
  }
  // One that the model has as well stays what it is there.
  if (tokens[id] === text && types[id] !== TokenType.userDefined) return;
  tokens[id] = text;
  scores![id] = addedScore;
  types[id] = special ? TokenType.control : TokenType.userDefined;
}

/** Gives every row of the embedding a token. */
function fillUp(
  { tokens, scores, types }: Vocabulary,
  vocabSize: number,
): void {
  for (let id = 0; id < vocabSize; id++) {
    if (tokens[id] !== undefined) continue;
    tokens[id] = `[PAD${id}]`;
    types[id] = TokenType.unused;
    if (scores) scores[id] = fillerScore;
  }
}

/** Ids by the text that a config gives, by the number that one gives, or by the model's own text. */
function specialIds(
  vocabulary: Vocabulary,
  settings: JsonObject,
  config: JsonObject,
): Entries {
  const { tokens, special } = vocabulary;
  const idOf = (text: unknown) => {
    const id = typeof text === "string" ? tokens.indexOf(text) : -1;
    return id >= 0 ? id : undefined;
  };
  return (Object.keys(idKeys) as SpecialName[]).map((name) => {
    const stated = settings[`${name}_token`];
    const numbered = [config[`${name}_token_id`]].flat()[0];
    const isId = Number.isInteger(numbered) &&
      tokens[numbered as number] !== undefined;
    const id = idOf(isObject(stated) ? stated.content : stated) ??
      (isId ? numbered as number : undefined) ?? idOf(special[name]);
    return [`ggml.${idKeys[name]}`, id !== undefined && entry.whole(id)];
  });
}

/** The chat template: a file of its own, or in the config, alone or as the default of several. */
async function chatTemplate(
  folder: Folder,
  settings: JsonObject,
): Promise<string | undefined> {
  const file = "chat_template.jinja";
  if (folder.files.has(file)) {
    return new TextDecoder().decode(await readWhole(folder, file));
  }
  const { chat_template: template } = settings;
  if (typeof template === "string") return template;
  const named = Array.isArray(template) ? template.filter(isObject) : [];
  const found = named.find(({ name }) => name === "default")?.template;
  return typeof found === "string" ? found : undefined;
}
