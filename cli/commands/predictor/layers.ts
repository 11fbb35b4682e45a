/**
 * The layers of a predictor on its way to a file: where the work is stopped,
 * those that are made lie in `PATH.layers`.
 *
 * @module
 */
import { fromBase64 } from "../../../src/bytes/base64.ts";
import type { ByteSource } from "../../../mod.ts";
import {
  fingerprintOf,
  type MadeLayer,
  type MakePredictorOptions,
  type StoredTensor,
} from "../../../lab.ts";
import type { Model } from "../../../gguf.ts";
import { mayKeep } from "../../beside_model.ts";
import type { LoadFlags } from "../../options.ts";
import { Checkpoint, sha256 } from "../../checkpoint.ts";

/** How the text is run, and whether other work is given up. */
export interface LayersFlags extends Pick<LoadFlags, "contextSize"> {
  readonly tokens?: number;
  readonly force?: boolean;
}

/**
 * Takes up what there is of the predictor that goes to `path`.
 *
 * @throws {UsageError} where there are layers of other work
 * @throws {FormatError} where the file is damaged
 */
export async function openLayers(
  path: string,
  { contextSize, tokens, force }: LayersFlags,
  texts: readonly string[],
  model: Model,
  source: ByteSource,
  { rank, recall, training }: MakePredictorOptions,
): Promise<Checkpoint<MadeLayer>> {
  const layers = `${path}.layers`;
  const state = await mayKeep(layers) ? layers : undefined;
  return await Checkpoint.open(
    "predictor",
    { state, force },
    [
      await fingerprintOf(model, source),
      await sha256(JSON.stringify(texts)),
      [contextSize, tokens, rank, recall, training],
    ],
    readLayer,
    { forceKeepsWork: true },
  );
}

/** A layer as it lies in a file, or undefined where it is none. */
function readLayer(value: unknown): MadeLayer | undefined {
  const { threshold, tensors } = (value ?? {}) as Partial<MadeLayer>;
  if (!Array.isArray(tensors)) return undefined;
  const read = tensors.map(readTensor);
  if (!read.every((tensor) => tensor !== undefined)) return undefined;
  // JSON has no Infinity, the threshold of a layer in which nothing fired.
  return { threshold: threshold ?? Infinity, tensors: read };
}

function readTensor(
  tensor: Omit<StoredTensor, "data"> & { readonly data: string },
): StoredTensor | undefined {
  try {
    return { ...tensor, data: fromBase64(tensor.data) };
  } catch {
    return undefined;
  }
}
