/** `/v1/embeddings`, and llama.cpp's `/embedding`. */
import * as v from "valibot";
// @ts-types="../../std/base64.d.ts"
import { encodeBase64 } from "deno-std/encoding/base64.js";
import { allOrNone } from "../all_or_none.ts";
import { readBody } from "../body.ts";
import { RequestError } from "../errors.ts";
import { text } from "../fields.ts";
import { type EmbedOptions, embedOptions } from "../../generate/embed.ts";
import { schemaOf } from "../../options.ts";
import { promptsField, promptsOf } from "../prompts.ts";
import {
  askerOf,
  type ServerApp,
  type ServerCall,
  type ServerContext,
} from "../server_context.ts";
import { takeTurn } from "../turn.ts";

const embeddingsSchema = v.object({
  model: text,
  input: promptsField,
  encoding_format: v.nullish(
    v.picklist(["float", "base64"], "float or base64"),
  ),
  dimensions: v.nullish(
    schemaOf(embedOptions.dimensions) as v.GenericSchema<number>,
  ),
}, "an object");

const embeddingSchema = v.object({
  model: text,
  content: promptsField,
  embd_normalize: v.nullish(
    v.picklist([-1, 2], "-1 (not scaled) or 2 (scaled to length 1)"),
  ),
}, "an object");

/** Registers `/v1/embeddings` and `/embedding`. */
export function embeddingRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/v1/embeddings", async (call) => {
    const body = await readBody(call, context, embeddingsSchema);
    const { input, dimensions, encoding_format } = body;
    const { modelId, vectors, tokens } = await embedAll(
      call,
      context,
      { model: body.model, texts: input!, param: "input", dimensions },
    );
    return call.json({
      object: "list",
      data: vectors.map((vector, index) => ({
        object: "embedding",
        index,
        embedding: encoding_format === "base64"
          ? encodeBase64(new Uint8Array(vector.buffer))
          : [...vector],
      })),
      model: modelId,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  });
  app.on("POST", ["/embedding", "/embeddings"], async (call) => {
    const body = await readBody(call, context, embeddingSchema);
    const { content, model, embd_normalize = 2 } = body;
    const { vectors } = await embedAll(call, context, {
      model,
      texts: content!,
      param: "content",
      normalize: embd_normalize > 0,
    });
    return call.json(vectors.map((vector, index) => ({
      index,
      embedding: [[...vector]],
    })));
  });
}

/** What is to be embedded, and how. */
interface Asked extends EmbedOptions {
  readonly model?: string;
  readonly texts: v.InferOutput<typeof promptsField>;
  /** The field that has the texts */
  readonly param: string;
}

async function embedAll(
  call: ServerCall,
  context: ServerContext,
  { model, texts, param, ...options }: Asked,
) {
  return await takeTurn(
    context,
    askerOf(call, model),
    async ({ model }) => {
      const prompts = await promptsOf(texts, model, param);
      if (prompts.some(({ length }) => length === 0)) {
        throw new RequestError(400, `Cannot embed ${param}: a text is empty`, {
          param,
        });
      }
      return prompts;
    },
    async ({ lease, ticket, record, signal }, prompts) => {
      const { id, model } = lease;
      const { pooling } = context.options;
      const vectors = await allOrNone(prompts, signal, async (ids, signal) => {
        using _ = await ticket.place(signal);
        const start = performance.now();
        const vector = await model.embed(ids, { ...options, pooling, signal });
        const ms = performance.now() - start;
        context.metrics.addPrompt(ids.length, ms);
        record.addPrompt(ids.length, 0, ms);
        return vector;
      });
      const tokens = prompts.reduce((sum, { length }) => sum + length, 0);
      return { modelId: id, vectors, tokens };
    },
  );
}
