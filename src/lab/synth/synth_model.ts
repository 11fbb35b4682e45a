import { type GgmlType, tensorBytes } from "../../formats/ggml/types.ts";
import { headerOf } from "../../formats/gguf/write.ts";
import { describeModel, type Model } from "../../model/model.ts";
import { mapTensors } from "../../model/schema.ts";
import type { SynthOptions } from "./options.ts";
import { synthGguf } from "./synthesise.ts";

/**
 * Describes a model of any size and type, to plan for it.
 *
 * @throws {UsageError} for sizes or shares that make no model
 * @throws {LimitError} for sizes that no model has
 */
export async function synthModel(options: SynthOptions): Promise<Model> {
  const { file } = await headerOf(synthGguf(options), "synthetic model");
  return describeModel(file);
}

/** The same model with its matrices in another type. */
export function asType(model: Model, type: GgmlType): Model {
  return {
    ...model,
    ...mapTensors(
      model,
      (tensor) =>
        tensor.shape.length > 1
          ? { ...tensor, type, byteLength: tensorBytes(type, tensor.shape) }
          : tensor,
    ),
  };
}
