/** `/v1/models`. */
import { RequestError } from "../errors.ts";
import type { ServedModel } from "../models.ts";
import type { ServerApp, ServerContext } from "../server_context.ts";

/** Registers `/v1/models`, and `/v1/models/NAME`. */
export function modelRoutes(
  app: ServerApp,
  { models }: ServerContext,
): void {
  app.on("GET", ["/v1/models", "/models"], (call) => {
    models.check();
    return call.json({ object: "list", data: models.loaded.map(cardOf) });
  });
  app.get("/v1/models/:id{.+}", (call) => {
    models.check();
    const { id } = call.req.param();
    const found = models.loaded.find((model) => model.id === id);
    if (found) return call.json(cardOf(found));
    throw new RequestError(404, `There is no model ${JSON.stringify(id)}`, {
      param: "model",
    });
  });
}

/** A model as clients list it. */
function cardOf({ id, created, model: { model, engine } }: ServedModel) {
  return {
    id,
    object: "model",
    created,
    owned_by: "culm",
    meta: {
      n_vocab: model.vocabSize,
      n_ctx: engine.contextSize,
      n_ctx_train: model.contextSize,
      n_embd: model.hiddenSize,
      n_params: model.parameterCount,
      size: engine.weightBytes,
    },
  };
}
