/** `/v1/models`. */
import * as v from "valibot";
import { readBody } from "../body.ts";
import { RequestError } from "../errors.ts";
import type { LanguageModel } from "../../generate/language_model.ts";
import { shown } from "../../options.ts";
import type { ListedModel } from "../models.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { takeModel } from "../turn.ts";

const nameSchema = v.object({ model: v.string("a text") }, "an object");

/** Registers `/v1/models`, `/v1/models/NAME`, and what llama.cpp's router has: `/models/load` and `/models/unload`. */
export function modelRoutes(app: ServerApp, context: ServerContext): void {
  const { models } = context;
  app.on("GET", ["/v1/models", "/models"], (call) => {
    models.check();
    return call.json({ object: "list", data: models.listed.map(cardOf) });
  });
  app.get("/v1/models/:id{.+}", (call) => {
    models.check();
    const { id } = call.req.param();
    const found = models.listed.find(({ id: own, served }) =>
      own === id || served?.aliases.includes(id)
    );
    if (found) return call.json(cardOf(found));
    throw new RequestError(404, `There is no model ${shown(id)}`, {
      code: "model_not_found",
      param: "model",
    });
  });
  app.post("/models/load", async (call) => {
    const { model } = await readBody(call, context, nameSchema);
    using _ = await takeModel(context, askerOf(call, checkName(model)));
    return call.json({ success: true });
  });
  app.post("/models/unload", async (call) => {
    const { model } = await readBody(call, context, nameSchema);
    await models.unload(checkName(model));
    return call.json({ success: true });
  });
}

/** @throws {RequestError} 400 where there is none */
function checkName(name: string | undefined): string {
  if (name) return name;
  throw new RequestError(400, "Cannot tell which model: model is missing", {
    param: "model",
  });
}

/** A model as clients list it. */
function cardOf({ id, status, served, hasFailed }: ListedModel) {
  return {
    id,
    object: "model",
    created: served?.created ?? 0,
    owned_by: "culm",
    status: { value: status, ...hasFailed && { failed: true } },
    ...served && { aliases: served.aliases, meta: metaOf(served.model) },
  };
}

function metaOf({ model, engine }: LanguageModel) {
  return {
    n_vocab: model.vocabSize,
    n_ctx: engine.contextSize,
    n_ctx_train: model.contextSize,
    n_embd: model.hiddenSize,
    n_params: model.parameterCount,
    size: engine.weightBytes,
  };
}
