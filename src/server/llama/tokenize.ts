/** `/tokenize`, `/detokenize` and `/tokenizer_info`, as llama.cpp's and vLLM's clients call them. */
import * as v from "valibot";
import { readBody } from "../body.ts";
import { RequestError } from "../errors.ts";
import { flag, text } from "../fields.ts";
import { mostCharacters } from "../../generate/text_length.ts";
import { inSlices } from "../../platform/time_slice.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { takeModel } from "../turn.ts";
import { tokenText, wholeTextInSlices } from "../token_text.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/** The longest text that is tokenized, in characters, where the context is not longer: requests of others wait meanwhile. */
const longestText = 2 ** 18;

const tokenizeSchema = v.object({
  model: text,
  /** llama.cpp's name for the text */
  content: text,
  /** vLLM's */
  prompt: text,
  add_special: flag,
  add_special_tokens: flag,
  parse_special: flag,
  with_pieces: flag,
}, "an object");

const detokenizeSchema = v.object({
  model: text,
  tokens: v.array(v.number("a token's id"), "a list of ids"),
}, "an object");

/** Registers `/tokenize`, `/detokenize` and `/tokenizer_info`. */
export function tokenizeRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/tokenize", async (call) => {
    const body = await readBody(call, context, tokenizeSchema);
    using lease = await takeModel(context, askerOf(call, body.model));
    const { tokenizer, engine } = lease.model;
    const text = body.content ?? body.prompt;
    if (text === undefined) {
      throw new RequestError(400, "Cannot tokenize: content is missing", {
        param: "content",
      });
    }
    const most = Math.max(
      longestText,
      mostCharacters(tokenizer, engine.contextSize),
    );
    if (text.length > most) {
      throw new RequestError(
        413,
        `Cannot tokenize ${text.length} characters at once: the limit is ${most}`,
      );
    }
    const ids = tokenizer.encode(text, {
      // Those who say prompt expect what a prompt becomes.
      addSpecial: body.add_special ?? body.add_special_tokens ??
        body.content === undefined,
      addEos: false,
      parseSpecial: body.parse_special ?? true,
    });
    return call.json({
      tokens: body.with_pieces
        ? await inSlices(ids, (id) => ({ id, piece: pieceOf(tokenizer, id) }))
        : ids,
      count: ids.length,
      max_model_len: engine.contextSize,
    });
  });
  app.post("/detokenize", async (call) => {
    const { model, tokens = [] } = await readBody(
      call,
      context,
      detokenizeSchema,
    );
    using lease = await takeModel(context, askerOf(call, model));
    const { tokenizer } = lease.model;
    const content = await wholeTextInSlices(tokenizer, tokens);
    return call.json({ content, prompt: content });
  });
  app.get("/tokenizer_info", async (call) => {
    using lease = await takeModel(context, askerOf(call));
    const { model } = lease;
    const { tokenizer } = model;
    const spelled = (id?: number) =>
      id === undefined ? null : tokenizer.pieceText(id);
    return call.json({
      bos_token: spelled(tokenizer.bos),
      eos_token: spelled(tokenizer.eos),
      unk_token: spelled(tokenizer.unk),
      // Nothing is padded here; clients that do so take what ends a text.
      pad_token: spelled(tokenizer.eos),
      add_bos_token: tokenizer.addBos,
      add_eos_token: tokenizer.addEos,
      chat_template: context.options.template ??
        (model.hasChatTemplate ? model.chatTemplate.source : null),
    });
  });
}

/** The text of a token, or its bytes where they are a part of a character. */
function pieceOf(tokenizer: Tokenizer, id: number): string | number[] {
  const text = tokenText(tokenizer, id);
  return text.includes("\ufffd") ? [...tokenizer.pieceBytes(id)] : text;
}
