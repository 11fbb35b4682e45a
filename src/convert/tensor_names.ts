/**
 * Hugging Face's names of a Llama-like model's tensors, and GGUF's.
 *
 * @module
 */
import {
  layerTensors,
  type NamedTensor,
  outerTensors,
  type TensorName,
  tensorOfGguf,
  tensorSchemas,
} from "../model/schema.ts";

/** A buffer that old checkpoints carry, which follows from the config. */
const derived = /\.rotary_emb\.inv_freq$/;

/** By Hugging Face's name, without the layer. */
const byHubName: ReadonlyMap<string, TensorName> = new Map(
  (Object.keys(tensorSchemas) as TensorName[]).flatMap((name) => {
    const { hub } = tensorSchemas[name];
    return hub === undefined ? [] : [[hub, name]];
  }),
);

/**
 * What a tensor of Hugging Face's name is: `undefined` for one that no such
 * model has, `null` for one that is left out.
 */
export function tensorOfHub(name: string): NamedTensor | null | undefined {
  if (derived.test(name)) return null;
  const [, layer, own] =
    name.match(/^(?:model\.layers\.(0|[1-9]\d*)\.)?(.+)$/) ?? [];
  const found = byHubName.get(own);
  const table = layer === undefined ? outerTensors : layerTensors;
  if (found === undefined || !(found in table)) return undefined;
  return layer === undefined
    ? { name: found }
    : { name: found, layer: Number(layer) };
}

/** Hugging Face's name of one of GGUF's tensors that {@linkcode tensorOfHub} knows. */
export function hubName(gguf: string): string {
  const { name, layer } = tensorOfGguf(gguf)!;
  const { hub } = tensorSchemas[name];
  return layer === undefined ? hub! : `model.layers.${layer}.${hub}`;
}
