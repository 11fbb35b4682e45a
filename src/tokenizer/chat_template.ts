import { UsageError } from "../errors.ts";
import { isObject, type JsonObject } from "../formats/json.ts";
import type { AnswerFormat } from "./answer.ts";
import type { ChatMessage } from "./chat_message.ts";
import { JinjaTemplate } from "./jinja/template.ts";
import {
  beginsReasoning,
  hasChannels,
  reasoningFormatOf,
  withoutReasoning,
} from "./reasoning.ts";
import { type ToolSupport, toolSupportOf } from "./tool_format.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { toolChat } from "./tool_messages.ts";

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
  /** More variables for the template, such as `tools`, or `enable_thinking`: where that is false, reasoning is ended that the template begins. */
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
  #toolSupport: ToolSupport | undefined;

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
   * How the answer to a prompt, which {@linkcode render} has written, is to be
   * read, and which of these tools it may call.
   */
  answerFormat(prompt: string, tools: readonly JsonObject[]): AnswerFormat {
    const reasoning = reasoningFormatOf(this.source);
    return {
      reasoning: reasoning &&
        { ...reasoning, isOpen: beginsReasoning(prompt, reasoning) },
      calls: tools.length > 0 ? this.#tools.format : undefined,
      knowsCalls: tools.length > 0 && this.#tools.writesCalls,
      tools: new Map(tools.map(schemaOf).filter(([name]) => name !== "")),
      hasChannels: hasChannels(this.source),
    };
  }

  get #tools(): ToolSupport {
    return this.#toolSupport ??= toolSupportOf(
      (messages, tools) => this.#write(messages, { tools }, false),
      this.source,
    );
  }

  /**
   * Writes the messages as one text. Special tokens are spelled out in it, so
   * it is to be encoded with `parseSpecial`, and without `addSpecial` where it
   * begins with BOS. Tools, their calls and results are given as OpenAI's
   * clients do; what the template does not write of them is put into the
   * messages. Where it knows no system, that message comes before the first of
   * the user's, as in llama.cpp.
   *
   * @throws {FormatError} The template is not Jinja.
   * @throws {UsageError} The template refuses the messages.
   * @throws {UnsupportedError} The template needs something that is not known here.
   * @throws {LimitError} The template is too long, runs for too long, or writes too much.
   */
  render(
    given: readonly ChatMessage[],
    options: RenderOptions = {},
  ): string {
    const { variables = {}, addGenerationPrompt = true } = options;
    const tools = Array.isArray(variables.tools)
      ? variables.tools.filter(isObject)
      : [];
    const messages = given.map((message) => this.#named(message));
    const hasTools = tools.length > 0 ||
      messages.some(({ role, tool_calls }) => role === "tool" || tool_calls);
    const chat = hasTools
      ? toolChat({ messages, tools }, this.#tools)
      : { messages };
    const prompt = this.#writeWithSystem(
      chat.messages,
      { ...variables, ...tools.length > 0 && chat },
      addGenerationPrompt,
    );
    const reasoning = reasoningFormatOf(this.source);
    return addGenerationPrompt && variables.enable_thinking === false &&
        reasoning
      ? withoutReasoning(prompt, reasoning, this.source)
      : prompt;
  }

  /** A message under the names that the template knows. */
  #named(message: ChatMessage): ChatMessage {
    const { source } = this;
    const { role, reasoning_content: thinking } = message;
    return {
      ...message,
      ...role === "developer" && !source.includes(role) && { role: "system" },
      ...typeof thinking === "string" && source.includes(".thinking") &&
        { thinking },
    };
  }

  #writeWithSystem(
    messages: readonly ChatMessage[],
    variables: JsonObject,
    addGenerationPrompt: boolean,
  ): string {
    try {
      return this.#write(messages, variables, addGenerationPrompt);
    } catch (error) {
      const [system, user, ...rest] = messages;
      const canJoin = system?.role === "system" && user?.role === "user";
      if (!(error instanceof UsageError) || !canJoin) throw error;
      const content = `${system.content}\n${user.content}`;
      const joined = [{ ...user, content }, ...rest];
      try {
        return this.#write(joined, variables, addGenerationPrompt);
      } catch {
        throw error;
      }
    }
  }

  #write(
    messages: readonly ChatMessage[],
    variables: JsonObject,
    addGenerationPrompt: boolean,
  ): string {
    this.#template ??= new JinjaTemplate(this.source);
    return this.#template.render({
      tools: null,
      documents: null,
      ...variables,
      messages,
      bos_token: this.#tokens.bos ?? "",
      eos_token: this.#tokens.eos ?? "",
      add_generation_prompt: addGenerationPrompt,
    });
  }
}

/** The ids of a chat as a template has written it, with what begins a text before it where the template has not. */
export function encodeChat(text: string, tokenizer: Tokenizer): number[] {
  const { bos } = tokenizer;
  const begins = bos !== undefined && text.startsWith(tokenizer.pieceText(bos));
  return tokenizer.encode(text, {
    parseSpecial: true,
    addSpecial: !begins,
    addEos: false,
  });
}

/** A tool's name, and the schema of its arguments, as OpenAI's clients give them, or without what is around. */
function schemaOf(tool: JsonObject): [name: string, schema: JsonObject] {
  const { name, parameters } = isObject(tool.function) ? tool.function : tool;
  return [String(name ?? ""), isObject(parameters) ? parameters : {}];
}
