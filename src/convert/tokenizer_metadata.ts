import { type Folder, readWhole } from "../bytes/folder.ts";
import { FormatError, UsageError } from "../errors.ts";
import { entry, type MetadataEntry } from "../formats/gguf/gguf_file.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject, readObject } from "../formats/json.ts";
import { readSentencePieceModel } from "../tokenizer/sentencepiece_model.ts";
import { TokenType } from "../tokenizer/vocabulary.ts";
import {
  type AddedToken,
  readTokenizerJson,
  scoresOf,
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
  /** Byte-level BPE's */
  readonly merges?: string[];
  /** Texts of special tokens, where no config names others */
  readonly special: Readonly<Partial<Record<SpecialName, string>>>;
  /** Whether texts begin with the first special token, where no config says */
  readonly addBos?: boolean;
  readonly addSpacePrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
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
): Promise<[string, MetadataEntry][]> {
  const settings = await readObject(folder, "tokenizer_config.json") ?? {};
  const vocabulary = await readVocabulary(folder, settings);
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
  const addEos = settings.add_eos_token;
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
  return entries.flatMap(([key, value]): [string, MetadataEntry][] =>
    value ? [[`tokenizer.${key}`, value]] : []
  );
}

async function readVocabulary(
  folder: Folder,
  settings: JsonObject,
): Promise<Vocabulary> {
  if (folder.files.has("tokenizer.model")) {
    const vocabulary = readSentencePiece(
      await readWhole(folder, "tokenizer.model"),
    );
    for (const token of await addedTokens(folder, settings)) {
      add(vocabulary, token, folder);
    }
    return vocabulary;
  }
  const json = await readObject(folder, "tokenizer.json");
  if (!json) {
    throw new UsageError(
      `Cannot find a tokenizer in ${folder.name}: it has neither tokenizer.model nor tokenizer.json`,
    );
  }
  return fromJson(json, `${folder.name}/tokenizer.json`);
}

function readSentencePiece(bytes: Uint8Array): Vocabulary {
  const model = readSentencePieceModel(bytes);
  const { pieces, types } = model;
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
  };
}

function fromJson(json: JsonObject, name: string): Vocabulary {
  const read = readTokenizerJson(json, name);
  const common = {
    tokens: [...read.tokens],
    types: typesOf(read),
    special: { bos: read.first, unk: read.unk },
    addBos: read.first !== undefined,
    addSpacePrefix: read.addSpacePrefix,
    removeExtraWhitespaces: false,
  };
  if (read.pre === undefined) {
    const scores = scoresOf(read);
    return { ...common, model: "llama", pre: "default", scores };
  }
  const merges = read.merges.map((pair, rank) => {
    if (pair.some((text) => text.includes(" "))) {
      throw new FormatError(
        `Cannot read ${name}: merge ${rank} has a space, which byte-level tokens do not`,
      );
    }
    return pair.join(" ");
  });
  return { ...common, model: "gpt2", pre: read.pre, merges };
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

/** Puts a token behind those of a SentencePiece model; what the model has stays as it is. */
function add(
  { tokens, scores, types }: Vocabulary,
  { id, text, special }: AddedToken,
  folder: Folder,
): void {
  if (tokens[id] === text && types[id] !== TokenType.userDefined) return;
  const isNext = id === tokens.length || tokens[id] === text;
  if (!Number.isInteger(id) || !isNext) {
    throw new FormatError(
      `Cannot convert ${folder.name}: added token ${
        printable(text)
      } has id ${id}, where ${
        tokens[id] === undefined
          ? `the next one is ${tokens.length}`
          : `the model has ${printable(tokens[id])}`
      }`,
    );
  }
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
