import { JinjaTemplate } from "./jinja/template.ts";

/** One turn of a chat. Templates may read more than role and content. */
export interface ChatMessage {
  /** Who speaks: `system`, `user` or `assistant`. */
  readonly role: string;
  /** What is said. */
  readonly content: string;
  /** What else the model's template reads, such as `tool_calls`. */
  readonly [key: string]: unknown;
}

/** The texts of BOS and EOS, which templates put between turns. */
export interface ChatTemplateTokens {
  /** Text of the token that begins a text. */
  readonly bos?: string;
  /** Text of the token that ends a text. */
  readonly eos?: string;
}

/** How a chat is written. */
export interface RenderOptions {
  /** Ends with the beginning of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** More variables for the template, such as `tools` or `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The format of files that do not say theirs. */
const chatMl = "{% for message in messages %}" +
  "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}" +
  "{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** Writes a chat as one text, in the format that the model was trained on. */
export class ChatTemplate {
  /** The template, in Jinja. */
  readonly source: string;
  readonly #tokens: ChatTemplateTokens;
  #template: JinjaTemplate | undefined;

  /**
   * Takes a file's `tokenizer.chat_template`; without one, chats are written
   * as ChatML. A damaged template is reported when it is first used, so that
   * it does not keep a model from completing plain text.
   */
  constructor(source: string | undefined, tokens: ChatTemplateTokens = {}) {
    this.source = source ?? chatMl;
    this.#tokens = tokens;
  }

  /**
   * Writes the messages as one text. Special tokens are spelled out in it, so
   * it is to be encoded with `parseSpecial`, and without `addSpecial` where it
   * begins with BOS.
   *
   * @throws {FormatError} The template is not Jinja.
   * @throws {UsageError} The template refuses the messages.
   * @throws {UnsupportedError} The template needs something that is not known here.
   * @throws {LimitError} The template is too long, runs for too long, or writes too much.
   */
  render(
    messages: readonly ChatMessage[],
    options: RenderOptions = {},
  ): string {
    this.#template ??= new JinjaTemplate(this.source);
    return this.#template.render({
      tools: null,
      documents: null,
      ...options.variables,
      messages,
      bos_token: this.#tokens.bos ?? "",
      eos_token: this.#tokens.eos ?? "",
      add_generation_prompt: options.addGenerationPrompt ?? true,
    });
  }
}
