import {
  hubName,
  layerTensors,
  type NamedTensor,
  outerTensors,
  type TensorName,
  tensorSchemas,
} from "../model/schema.ts";

/** A buffer that old checkpoints carry, which follows from the config. */
const derived = /\.rotary_emb\.inv_freq$/;

/** By Hugging Face's name, without the layer. */
const byHubName: ReadonlyMap<string | undefined, TensorName> = new Map(
  (Object.keys(tensorSchemas) as TensorName[]).map((
    name,
  ) => [hubName({ name }), name]),
);

/**
 * What a tensor of Hugging Face's name is: `undefined` for one that no such
 * model has, `null` for one that is left out.
 */
export function tensorOfHub(hub: string): NamedTensor | null | undefined {
  if (derived.test(hub)) return null;
  const [, layer, own] =
    hub.match(/^(?:model\.layers\.(0|[1-9]\d*)\.)?(.+)$/) ?? [];
  const name = own === undefined ? undefined : byHubName.get(own);
  const table = layer === undefined ? outerTensors : layerTensors;
  if (name === undefined || !(name in table)) return undefined;
  return layer === undefined ? { name } : { name, layer: Number(layer) };
}
