/** `/infill`, llama.cpp's own way of asking for what belongs at a place of a file. */
import * as v from "valibot";
import { readBody } from "../body.ts";
import { object } from "../fields.ts";
import { fimPrompt } from "../fim.ts";
import type { ServerApp, ServerContext } from "../server_context.ts";
import { answerText, textFields } from "./completion.ts";

const text = v.string("a text");

const infillSchema = v.object({
  ...textFields,
  input_prefix: text,
  input_suffix: text,
  /** What stands behind the prefix already */
  prompt: v.nullish(text),
  input_extra: v.nullish(
    v.array(
      object(
        { text, filename: v.optional(text) },
        "an object { filename, text }",
      ),
      "a list of objects { filename, text }",
    ),
  ),
}, "an object");

/** Registers `/infill`. */
export function infillRoutes(app: ServerApp, context: ServerContext): void {
  app.post("/infill", async (call) => {
    const body = await readBody(call, context, infillSchema);
    const { input_prefix = "", input_suffix = "", prompt = "" } = body;
    return await answerText(
      call,
      context,
      body,
      (model, { maxTokens = -1 }) => [
        fimPrompt(
          model,
          {
            prefix: input_prefix + prompt,
            suffix: input_suffix,
            files: body.input_extra,
          },
          maxTokens,
          "input_suffix",
        ),
      ],
    );
  });
}
