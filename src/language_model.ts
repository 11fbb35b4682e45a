/**
 * A loaded model: text in, text out.
 *
 * @module
 */
import type { ByteSource } from "./bytes/byte_source.ts";
import { Engine } from "./engine.ts";
import { LimitError, TokenizerError, UsageError } from "./errors.ts";
import { getString, type GgufFile, readGguf } from "./formats/gguf/read.ts";
import { generate, type GenerateOptions, type Piece } from "./generation.ts";
import {
  type Activation,
  describeModel,
  isSparse,
  type Model,
} from "./model/model.ts";
import { type ModelSource, toByteSource } from "./model_source.ts";
import { type CacheType, checkCacheType } from "./places/cache_type.ts";
import { startTeam } from "./places/start.ts";
import type { Progress } from "./places/load.ts";
import { checkProfile, type Profile } from "./plan/profile.ts";
import { profileOf } from "./plan/reorder.ts";
import type { Sparsity } from "./plan/sparsity.ts";
import { withPredictor } from "./predictor/predictor_file.ts";
import { Session } from "./session.ts";
import {
  type ChatMessage,
  ChatTemplate,
  type EncodeOptions,
  type Tokenizer,
  tokenizerFromGguf,
} from "./tokenizer/mod.ts";

/** How a model is loaded. Everything may be left out. */
export interface LoadOptions {
  /** CPU threads; 0 computes in the caller's thread. Default: one for each core. */
  threads?: number;
  /** The most positions of a sequence; 0 = what the model was made for. Default 0. */
  contextSize?: number;
  /** The most tokens in one step. Default 128. */
  batchSize?: number;
  /** Which neurons are computed. Default `{ mode: "exact" }`. */
  sparsity?: Sparsity;
  /**
   * How keys and values are kept: as `f32`, `f16`, or in blocks of 8 bits,
   * `q8_0`, which take about half the bytes of f16; with tiny-bamboo, they
   * move a token's log-probability by 0.01. Default `f16`.
   */
  cacheType?: CacheType;
  /** A predictor that `culm predictor` made; sparsity `predictor` uses it in place of the file's own. */
  predictor?: ModelSource;
  /** Overrides the activation that the file implies. */
  activation?: Activation;
  /** Counts what a predictor misses, at the price of computing everything. Default false. */
  measureRecall?: boolean;
  /**
   * How often each neuron fires: each layer's are stored and read in that order.
   * Default: what the file says of it; `false`: nothing, and the file's order.
   */
  profile?: Profile | false;
  /**
   * The share of each layer's neurons, hottest first, that is read without
   * asking; needs a profile. Default: measured while loading.
   */
  hotShare?: number;
  /** Counts how often each neuron fires, for {@linkcode Engine.profile}. Default false. */
  countNeurons?: boolean;
  /** Keeps what each step's feed-forward layers read, for {@linkcode Engine.normedStates}. Default false. */
  keepNormed?: boolean;
  /** Told how far loading has come. */
  onProgress?: (progress: Progress) => void;
  /** Stops loading. */
  signal?: AbortSignal;
}

/** Options of {@linkcode LanguageModel.chat}. */
export interface ChatOptions extends GenerateOptions {
  /** A Jinja template in place of the file's. */
  template?: string;
}

const limits = { batchSize: 4096, contextSize: 1 << 20, threads: 256 };

/**
 * Loads a GGUF or PowerInfer file, or a Hugging Face folder.
 *
 * @throws {FormatError} where the file is damaged
 * @throws {UnsupportedError} where it holds what culm cannot run
 * @throws {LimitError} where it does not fit
 * @throws {UsageError} for options out of range
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/culm/tiny";
 *
 * await using model = await load(tinyBamboo(), { threads: 1 });
 * let story = "Once upon a time";
 * for await (const piece of model.generate(story, { maxTokens: 8, seed: 1 })) {
 *   story += piece.text;
 * }
 * console.log(story);
 * ```
 */
export async function load(
  source: ModelSource,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  const checked = checkOptions(options);
  const bytes = await toByteSource(source);
  let predictor: ByteSource | undefined;
  try {
    const start = performance.now();
    const file = await readGguf(bytes);
    options.signal?.throwIfAborted();
    const described = describeModel(file, options);
    if (options.predictor !== undefined) {
      predictor = await toByteSource(options.predictor);
    }
    const { model, source: all } = predictor
      ? await withPredictor(described, bytes, predictor)
      : { model: described, source: bytes };
    checkPredictor(model, checked.sparsity, predictor !== undefined);
    const profile = options.profile === false
      ? undefined
      : options.profile ?? profileOf(file, model);
    if (profile) checkProfile(profile, model);
    else if (checked.hotShare) {
      throw new UsageError(
        `Cannot use hotShare ${checked.hotShare}: no profile says which neurons are hot`,
      );
    }
    const tokenizer = file.metadata.has("tokenizer.ggml.model")
      ? tokenizerFromGguf(file)
      : undefined;
    const contextSize = checked.contextSize || model.contextSize;
    const team = await startTeam(all, checked.threads, {
      model,
      sparsity: checked.sparsity,
      cacheType: checked.cacheType,
      measureRecall: options.measureRecall ?? false,
      profile,
      hotShare: checked.hotShare,
      countNeurons: options.countNeurons,
      keepNormed: options.keepNormed,
      limits: {
        tokens: Math.min(checked.batchSize, contextSize),
        contextSize,
      },
    }, options);
    return new LanguageModel(
      file,
      model,
      new Engine(team, model.vocabSize),
      performance.now() - start,
      tokenizer,
      profile,
    );
  } finally {
    if (bytes !== source) await bytes.close();
    if (predictor !== options.predictor) await predictor?.close();
  }
}

/** A model in memory. Close it with `await using`, or by `[Symbol.asyncDispose]()`. */
export class LanguageModel implements AsyncDisposable {
  readonly #tokenizer?: Tokenizer;
  #chatTemplate?: ChatTemplate;

  /** Made by {@linkcode load}. */
  constructor(
    /** The file's header */
    readonly file: GgufFile,
    /** Hyper-parameters and tensors */
    readonly model: Model,
    /** Evaluates tokens, for those who do their own sampling */
    readonly engine: Engine,
    /** What loading took, in ms */
    readonly loadMs: number,
    tokenizer?: Tokenizer,
    /** How often each neuron fires, where that was told when it was loaded */
    readonly profile?: Profile,
  ) {
    this.#tokenizer = tokenizer;
  }

  /** What computes, for people: `WASM relaxed SIMD, 2 threads`. */
  get backend(): string {
    return this.engine.description;
  }

  /**
   * The file's tokenizer.
   *
   * @throws {TokenizerError} where the file has none
   */
  get tokenizer(): Tokenizer {
    if (!this.#tokenizer) {
      throw new TokenizerError(
        "Cannot tokenize: the file has no tokenizer.ggml.model",
      );
    }
    return this.#tokenizer;
  }

  /**
   * The file's chat template; ChatML where it has none.
   *
   * @throws {TokenizerError} where the template cannot be read
   */
  get chatTemplate(): ChatTemplate {
    return this.#chatTemplate ??= this.#templateOf(
      getString(this.file, "tokenizer.chat_template"),
    );
  }

  /**
   * The ids of a text, with the special tokens that the file asks for.
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/culm/tiny";
   *
   * await using model = await load(tinyBamboo(), { threads: 0 });
   * const ids = model.tokenize("Lily went home.");
   * console.log(model.detokenize(ids)); // Lily went home.
   * ```
   */
  tokenize(text: string, options?: EncodeOptions): number[] {
    return this.tokenizer.encode(text, options);
  }

  /** The text of ids; special tokens are left out. */
  detokenize(ids: Iterable<number>): string {
    return this.tokenizer.decode(ids);
  }

  /** An empty session, to pass to several calls that continue one another. */
  createSession(): Session {
    return new Session(this.engine);
  }

  /**
   * Continues a prompt: a text, or token ids, which are taken as they are.
   *
   * @throws {UsageError} for an empty prompt or options out of range
   * @throws {LimitError} where the prompt does not fit the context
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * const options = { temperature: 0, maxTokens: 5 };
   * for await (const { text, logprob } of model.generate("Tom had a", options)) {
   *   console.log(text, logprob);
   * }
   * ```
   */
  async *generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<Piece, void, void> {
    const ids = typeof prompt === "string" ? this.tokenize(prompt) : prompt;
    const session = options.session ?? this.createSession();
    try {
      yield* generate(this.engine, this.tokenizer, session, ids, options);
    } finally {
      if (!options.session) session[Symbol.dispose]();
    }
  }

  /**
   * Answers the last message of a chat.
   *
   * @throws {TokenizerError} where the template refuses the messages
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * const messages = [{ role: "user", content: "Tell me a story." }];
   * for await (const { text } of model.chat(messages, { maxTokens: 8 })) {
   *   console.log(text);
   * }
   * ```
   */
  async *chat(
    messages: readonly ChatMessage[],
    options: ChatOptions = {},
  ): AsyncGenerator<Piece, void, void> {
    const template = options.template === undefined
      ? this.chatTemplate
      : this.#templateOf(options.template);
    const text = template.render([...messages], { addGenerationPrompt: true });
    const { tokenizer } = this;
    const begins = tokenizer.bos !== undefined &&
      text.startsWith(tokenizer.pieceText(tokenizer.bos));
    const ids = tokenizer.encode(text, {
      parseSpecial: true,
      addSpecial: !begins,
    });
    yield* this.generate(ids, options);
  }

  /** Stops the places and gives their memory back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
  }

  #templateOf(source: string | undefined): ChatTemplate {
    const { tokenizer } = this;
    const spelled = (id?: number) =>
      id === undefined ? undefined : tokenizer.pieceText(id);
    return new ChatTemplate(source, {
      bos: spelled(tokenizer.bos),
      eos: spelled(tokenizer.eos),
    });
  }
}

function checkOptions(options: LoadOptions) {
  const whole = (
    name: "threads" | "contextSize" | "batchSize",
    fallback: number,
    least: number,
  ): number => {
    const value = options[name] ?? fallback;
    if (!Number.isInteger(value) || value < least) {
      throw new UsageError(
        `Cannot use ${name} ${value}: needs a whole number from ${least} up`,
      );
    }
    if (value > limits[name]) {
      throw new LimitError(
        `Cannot use ${name} ${value}: the limit is ${limits[name]}`,
      );
    }
    return value;
  };
  const { hotShare } = options;
  if (hotShare !== undefined && !(hotShare >= 0 && hotShare <= 1)) {
    throw new UsageError(
      `Cannot use hotShare ${hotShare}: needs a number from 0 to 1`,
    );
  }
  return {
    threads: whole(
      "threads",
      globalThis.navigator?.hardwareConcurrency ?? 1,
      0,
    ),
    contextSize: whole("contextSize", 0, 0),
    batchSize: whole("batchSize", 128, 1),
    sparsity: options.sparsity ?? { mode: "exact" as const },
    cacheType: checkCacheType(options.cacheType ?? "f16"),
    hotShare,
  };
}

/** A predictor is there where one is wanted, and wanted where one is given. */
function checkPredictor(
  { layers, activation }: Model,
  { mode }: Sparsity,
  isGiven: boolean,
): void {
  if (mode !== "predictor") {
    if (!isGiven) return;
    throw new UsageError(
      `Cannot use a predictor with sparsity ${mode}: it needs sparsity predictor`,
    );
  }
  if (!isSparse(activation)) {
    throw new UsageError(
      `Cannot use sparsity predictor: neurons of activation ${activation} are never zero`,
    );
  }
  if (!layers.some((layer) => layer.fc1)) {
    throw new UsageError(
      "Cannot use sparsity predictor: the file has none (blk.N.fc1 and fc2, as in PowerInfer's files), and none that culm predictor made is given",
    );
  }
}
