/**
 * By what a predictor knows the model that it was made for.
 *
 * @module
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { rowBytes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import type { Model } from "./model.ts";

/**
 * SHA-256, in hexadecimal, of the feed-forward tensors' names, types and
 * shapes, and of a row from the middle of each: another model, another
 * quantisation, and another order of neurons each have another.
 */
export async function fingerprintOf(
  model: Model,
  source: ByteSource,
): Promise<string> {
  const tensors = model.layers.flatMap((layer) => [
    layer.ffn_norm,
    layer.ffn_gate,
    layer.ffn_up,
  ]);
  const shapes = tensors.map(({ name, type, shape }) => [name, type, shape]);
  const rows = await Promise.all(
    tensors.map((tensor) => middleRow(tensor, source)),
  );
  const described = new TextEncoder().encode(
    JSON.stringify([model.activation, shapes]),
  );
  const bytes = await new Blob([described, ...rows]).arrayBuffer();
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

function middleRow(
  { type, shape, offset }: TensorInfo,
  source: ByteSource,
): Promise<Uint8Array<ArrayBuffer>> {
  const length = rowBytes(type, shape[0]);
  const row = Math.floor((shape[1] ?? 1) / 2);
  return source.read(offset + row * length, length);
}
