import type { Architecture } from "../model/architectures.ts";
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

/** A tensor of a checkpoint: the schema's, or queries, keys and values in one. */
export interface HubTensor extends Omit<NamedTensor, "name"> {
  readonly name: TensorName | "attn_qkv";
  /** Which expert's */
  readonly expert?: number;
  /** Whether it is the shared expert's */
  readonly isShared?: boolean;
}

/** What stands before the name of an expert's tensor: `mlp.experts.3.up_proj` is `mlp.up_proj` of one. */
const ofExpert = /\.experts\.(0|[1-9]\d*)(?=\.)/;

/** The same of the shared expert's, and of its gate's. */
const ofShared = /(?<=mlp\.)shared_expert[._](?=\w+_proj\.|gate\.)/;

/**
 * What a tensor of Hugging Face's name is: `undefined` for one that no such
 * model has, `null` for one that is left out. Names of `hub` go before the
 * schema's.
 */
export function tensorOfHub(
  hub: string,
  { hub: { names = {} } = {}, sharesExpert }: Pick<
    Architecture,
    "hub" | "sharesExpert"
  > = {},
): HubTensor | null | undefined {
  if (derived.test(hub)) return null;
  if (sharesExpert && ofShared.test(hub)) {
    const tensor = tensorOfHub(hub.replace(ofShared, ""));
    return tensor && { ...tensor, isShared: true };
  }
  const [, layer, own] =
    hub.match(/^(?:model\.layers\.(0|[1-9]\d*)\.)?(.+)$/) ?? [];
  const [, expert] = ofExpert.exec(own ?? "") ?? [];
  const shared = own?.replace(ofExpert, "");
  const stem = shared?.replace(/\.weight$/, "") ?? "";
  const name = Object.hasOwn(names, stem) ? names[stem] : byHubName.get(shared);
  if (own === undefined || name === undefined) return undefined;
  if (expert !== undefined) {
    const isOfExpert = layer !== undefined && name !== "attn_qkv" &&
      tensorSchemas[name].perExpert;
    return isOfExpert
      ? { name, layer: Number(layer), expert: Number(expert) }
      : undefined;
  }
  if (layer === undefined) return name in outerTensors ? { name } : undefined;
  const isOfLayer = name === "attn_qkv" || name in layerTensors;
  return isOfLayer ? { name, layer: Number(layer) } : undefined;
}
