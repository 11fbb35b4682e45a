/** `/props` and `/slots`: what is served, and how. */
import { RequestError } from "../errors.ts";
import { samplingSettings } from "../sampling_fields.ts";
import {
  askerOf,
  type ServerApp,
  type ServerContext,
} from "../server_context.ts";
import { takeModel } from "../turn.ts";

/** Registers `/props` and `/slots`, which change nothing. */
export function propsRoutes(
  app: ServerApp,
  context: ServerContext,
): void {
  const { queue, options } = context;
  app.get("/props", async (call) => {
    using lease = await takeModel(
      context,
      askerOf(call, call.req.query("model")),
    );
    const { id, model } = lease;
    const { engine, tokenizer } = model;
    const spelled = (id?: number) =>
      id === undefined ? "" : tokenizer.pieceText(id);
    return call.json({
      default_generation_settings: {
        n_ctx: engine.contextSize,
        params: {
          ...samplingSettings(options.sampling ?? {}),
          n_predict: options.maxTokens,
          max_tokens: options.maxTokens,
        },
      },
      total_slots: options.parallel,
      model_alias: id,
      modalities: { vision: false, audio: false },
      chat_template: options.template ??
        (model.hasChatTemplate ? model.chatTemplate.source : ""),
      bos_token: spelled(tokenizer.bos),
      eos_token: spelled(tokenizer.eos),
      architecture: model.model.architecture,
      backend: model.backend,
      sparsity: engine.sparsity,
    });
  });
  app.get("/slots", async (call) => {
    if (!options.slots) {
      throw new RequestError(501, "Cannot show slots: --no-slots is given");
    }
    using lease = await takeModel(
      context,
      askerOf(call, call.req.query("model")),
    );
    const { contextSize } = lease.model.engine;
    // Texts have no slots of their own; as many are taken as are being written.
    const slots = Array.from({ length: options.parallel }, (_, id) => ({
      id,
      n_ctx: contextSize,
      is_processing: id < queue.running,
    }));
    return call.json(slots);
  });
}
