/** A loaded model: text in, text out. */
import type { Engine } from "../engine/engine.ts";
import { type ChatTurn, messagesOf } from "./chat_messages.ts";
import {
  type ChatOptions,
  chatOptions,
  type ChatPrompt,
  demandOf,
  splitChatOptions,
} from "./chat_options.ts";
import { TokenizerError, UsageError } from "../errors.ts";
import { getNumber, getString, type GgufFile } from "../formats/gguf/read.ts";
import type { JsonObject } from "../formats/json.ts";
import {
  embed,
  type EmbedOptions,
  embedOptions,
  type Pooling,
  poolings,
} from "./embed.ts";
import {
  generate,
  type GenerateOptions,
  generateOptions,
  type Piece,
} from "./generate.ts";
import type { Model } from "../model/model.ts";
import { checkOptions, checkValue, type OptionsOf, shown } from "../options.ts";
import type { Profile } from "../plan/profile.ts";
import {
  restoreSession,
  type SaveOptions,
  saveSession,
  type SessionOwner,
} from "./saved_session.ts";
import { Session } from "./session.ts";
import { checkTextLength } from "./text_length.ts";
import type { ByteSource } from "../bytes/byte_source.ts";
import type { ChatEvent } from "../tokenizer/answer.ts";
import { patternOf } from "../constrain/constraint_spec.ts";
import { constraintOf, constraintOptions } from "../constrain/options.ts";
import type { TextPattern } from "../constrain/text_pattern.ts";
import { answerPattern } from "../constrain/tool_calls.ts";
import { tagTokens } from "../tokenizer/answer_tokens.ts";
import { ChatTemplate, encodeChat } from "../tokenizer/chat_template.ts";
import {
  type EncodeOptions,
  encodeOptions,
  type Tokenizer,
} from "../tokenizer/tokenizer.ts";

/** A model in memory. Close it with `await using`, or by `[Symbol.asyncDispose]()`. */
export class LanguageModel implements AsyncDisposable {
  readonly #tokenizer?: Tokenizer;
  /** Open as long as the model is, to be read again */
  readonly #files?: AsyncDisposable;
  readonly #fingerprint?: () => Promise<string>;
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
    files?: AsyncDisposable,
    fingerprint?: () => Promise<string>,
  ) {
    this.#tokenizer = tokenizer;
    this.#files = files;
    this.#fingerprint = fingerprint;
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

  /** Whether the file has a chat template of its own; such models answer, and others go on. */
  get hasChatTemplate(): boolean {
    return getString(this.file, "tokenizer.chat_template") !== undefined;
  }

  /**
   * The ids of a text, with the special tokens that the file requires.
   *
   * @throws {UsageError} for what is no text, and wrong options
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo(), { threads: 0 });
   * const ids = model.tokenize("Lily went home.");
   * console.log(model.detokenize(ids)); // Lily went home.
   * ```
   */
  tokenize(text: string, options: EncodeOptions = {}): number[] {
    checkValue("text", { type: "string" }, text ?? null);
    checkOptions("tokenize", encodeOptions, options);
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
   * Saves what a session has evaluated, so that no run need do it again: to a
   * file, which is replaced only where it is a past too, to a stream, or as
   * bytes where no destination is given: all of it, or the first `tokens`. The
   * session may go on meanwhile.
   *
   * @throws {UsageError} where a text is generated in the session, or it is another model's
   * @throws {CulmError} where the file cannot be written
   * @throws what `signal` was aborted with, or the stream failed by
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * using session = model.createSession();
   * await model.complete("Once upon a time", { session, maxTokens: 8 });
   * const bytes = await model.save(session);
   *
   * using restored = await model.restore(bytes);
   * console.log(restored.ids.length === session.ids.length); // true
   * ```
   */
  save(
    session: Session,
    destination?: undefined,
    options?: { readonly tokens?: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array<ArrayBuffer>>;
  /** The same, to a file or a stream. */
  save(
    session: Session,
    destination: string | URL | WritableStream<Uint8Array>,
    options?: { readonly tokens?: number; readonly signal?: AbortSignal },
  ): Promise<void>;
  async save(
    session: Session,
    destination?: string | URL | WritableStream<Uint8Array>,
    options: SaveOptions = {},
  ): Promise<Uint8Array<ArrayBuffer> | void> {
    return await saveSession(this.#owner, session, destination, options);
  }

  /**
   * The session that {@linkcode save} has saved, of this model and loaded with
   * the same `cacheType` and `sparsity`, on whatever threads or GPU: a path, a
   * URL, bytes, or anything that reads ranges. Texts go on in it as if it had
   * never been away.
   *
   * @throws {FormatError} where it is no past, or damaged
   * @throws {UsageError} where it is of another model, or of other settings
   * @throws {LimitError} where it does not fit the context, or memory
   * @throws what `signal` was aborted with
   */
  async restore(
    source: string | URL | Blob | Uint8Array | ByteSource,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Session> {
    return await restoreSession(this.#owner, source, options);
  }

  get #owner(): SessionOwner {
    const { engine, model } = this;
    const pastOwner = async () => {
      if (!this.#fingerprint) {
        throw new UsageError(
          "Cannot save or restore a session of a model that load has not made",
        );
      }
      return { engine, model, fingerprint: await this.#fingerprint() };
    };
    return { engine, pastOwner };
  }

  /**
   * Continues a prompt: a text, or token ids, which are taken as they are.
   *
   * @throws {UsageError} for an empty prompt or options out of range
   * @throws {ContextError} where the prompt does not fit the context
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * const options = { temperature: 0, maxTokens: 5, logprobs: 0 };
   * for await (const { text, logprob } of model.generate("Tom had a", options)) {
   *   console.log(text, logprob);
   * }
   * ```
   */
  async *generate(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<Piece, void, void> {
    const checked = checkOptions("generate", generateOptions, options);
    const ids = typeof prompt === "string"
      ? this.tokenize(prompt, {
        parseSpecial: checked.parseSpecial,
        // The text goes on.
        addEos: false,
      })
      : checkIds(prompt);
    const session = checked.session ?? this.createSession();
    try {
      yield* generate(this.engine, this.tokenizer, session, ids, checked);
    } finally {
      if (!checked.session) session[Symbol.dispose]();
    }
  }

  /**
   * Continues a prompt, and gives the whole text.
   *
   * @throws what `options.signal` was aborted with, and as {@linkcode generate} does
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * console.log(await model.complete("Tom had a", { maxTokens: 8 }));
   * ```
   */
  async complete(
    prompt: string | readonly number[],
    options: GenerateOptions = {},
  ): Promise<string> {
    let text = "";
    for await (const piece of this.generate(prompt, options)) {
      text += piece.text;
    }
    options.signal?.throwIfAborted();
    return text;
  }

  /**
   * Answers the last message of a chat.
   *
   * @throws {UsageError} for what is no list of messages, options out of range, or messages that the template refuses
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * const messages = [{ role: "user", content: "Tell me a story." }];
   * for await (const { text } of model.chat(messages, { maxTokens: 8 })) {
   *   console.log(text);
   * }
   * ```
   */
  async *chat(
    messages: readonly ChatTurn[],
    options: ChatOptions = {},
  ): AsyncGenerator<Piece, void, void> {
    const [written, rest] = splitChatOptions("chat", options);
    yield* this.generate(this.tokenizeChat(messages, written), rest);
  }

  /**
   * Answers the last message of a chat, in parts: what the model thinks, what
   * it says, and the tools that it calls, read from the form that it was
   * trained on.
   *
   * @throws as {@linkcode LanguageModel.chat} does
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo());
   * const messages = [{ role: "user", content: "Is it raining?" }];
   * const tools = [{ type: "function", function: { name: "weather" } }];
   * for await (const event of model.answer(messages, { tools, maxTokens: 8 })) {
   *   if (event.type === "toolCall") console.log(event.name);
   *   else if (event.type === "text") console.log(event.text);
   * }
   * ```
   */
  async *answer(
    messages: readonly ChatTurn[],
    options: ChatOptions = {},
  ): AsyncGenerator<ChatEvent, void, void> {
    const [written, { schema, json, regex, ...rest }] = splitChatOptions(
      "answer",
      options,
    );
    const spec = constraintOf(
      checkOptions("answer", constraintOptions, { schema, json, regex }),
    );
    const said = spec && !("grammar" in spec) ? patternOf(spec) : undefined;
    const { ids, answer, shownTokens, pattern } = this.chatPrompt(
      messages,
      written,
      said,
    );
    const how = { shownTokens, pattern };
    const { AnswerParser } = await import("../tokenizer/answer_parser.ts");
    const parser = new AnswerParser(answer);
    for await (const { text } of this.generate(ids, { ...how, ...rest })) {
      yield* parser.push(text);
    }
    yield* parser.finish();
  }

  /**
   * The ids of a chat as its template writes it, up to where the answer begins:
   * what {@linkcode LanguageModel.chat} evaluates.
   *
   * @throws {UsageError} for what is no list of messages, or messages that the template refuses
   */
  tokenizeChat(
    messages: readonly ChatTurn[],
    options: OptionsOf<typeof chatOptions> = {},
  ): number[] {
    const { text } = this.#writeChat(messages, options);
    return encodeChat(text, this.tokenizer);
  }

  /**
   * The same ids, and how the answer is to be read, and what it is held to: for
   * those who generate it themselves. What is said, if no tool is called, may be
   * held to something too.
   *
   * @throws as {@linkcode LanguageModel.tokenizeChat} does
   * @throws {ContextError} where it is longer than any text that fits the context
   */
  chatPrompt(
    messages: readonly ChatTurn[],
    options: OptionsOf<typeof chatOptions> = {},
    said?: TextPattern,
  ): ChatPrompt {
    const { text, template, tools } = this.#writeChat(messages, options);
    checkTextLength(text, this.tokenizer, this.engine.contextSize);
    const answer = template.answerFormat(text, tools);
    return {
      text,
      ids: encodeChat(text, this.tokenizer),
      answer,
      shownTokens: tagTokens(answer, this.tokenizer),
      pattern: answerPattern(answer, demandOf(tools, options), said),
    };
  }

  #writeChat(
    messages: readonly ChatTurn[],
    options: OptionsOf<typeof chatOptions>,
  ): {
    readonly text: string;
    readonly template: ChatTemplate;
    readonly tools: readonly JsonObject[];
  } {
    const turns = messagesOf(messages);
    const checked = checkOptions("chat", chatOptions, options);
    const { template: given, variables, toolChoice, addGenerationPrompt } =
      checked;
    // Templates that ask whether there are tools (Llama 3.1's) take an empty list for some.
    const tools = toolChoice === "none" || checked.tools?.length === 0
      ? undefined
      : checked.tools;
    const template = given === undefined
      ? this.chatTemplate
      : this.#templateOf(given);
    const all = {
      variables: { ...variables, ...tools && { tools } },
      addGenerationPrompt,
    };
    const text = template.render(turns, all);
    return { text, template, tools: tools ?? [] };
  }

  /**
   * A text, or ids, as a vector: the states behind the output norm, pooled.
   *
   * @throws {UsageError} for a text without tokens and options out of range
   * @throws {ContextError} where it does not fit the context
   * @throws {UnsupportedError} where a GPU holds the output head
   *
   * @example
   * ```ts
   * import { load } from "@culm/culm";
   * import { tinyBamboo } from "@culm/tiny";
   *
   * await using model = await load(tinyBamboo(), { threads: 0 });
   * const a = await model.embed("The cat sat.");
   * const b = await model.embed("A cat was sitting.");
   * const similarity = a.reduce((sum, value, i) => sum + value * b[i], 0);
   * console.log(similarity > 0.5); // true
   * ```
   */
  async embed(
    text: string | readonly number[],
    options: EmbedOptions = {},
  ): Promise<Float32Array<ArrayBuffer>> {
    const checked = checkOptions("embed", embedOptions, options);
    const ids = typeof text === "string" ? this.tokenize(text) : checkIds(text);
    const pooling = checked.pooling ?? this.#pooling ?? "mean";
    const { hiddenSize } = this.model;
    return await embed(this.engine, ids, hiddenSize, { ...checked, pooling });
  }

  /** How the file says that states are pooled. */
  get #pooling(): Pooling | undefined {
    const key = `${this.model.architecture}.pooling_type`;
    return poolings[getNumber(this.file, key) ?? 0];
  }

  /** Stops the places and gives their memory back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    await this.#files?.[Symbol.asyncDispose]();
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

/** Ids, if it is a list of them that a JavaScript caller gave; which ids there are is the engine's to say. */
function checkIds(prompt: readonly number[]): readonly number[] {
  if (Array.isArray(prompt) || ArrayBuffer.isView(prompt)) return prompt;
  throw new UsageError(
    `Cannot use prompt ${shown(prompt)}: it is a text or a list of token ids`,
  );
}
