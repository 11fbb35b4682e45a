/**
 * Model files whose neurons are in order of how often they fire, and which say
 * so themselves. Weights are moved, never changed: any engine runs such a file.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { UnsupportedError } from "../errors.ts";
import { ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import type { GgufFile, TensorInfo } from "../formats/gguf/read.ts";
import { writeGguf } from "../formats/gguf/write.ts";
import type { Model } from "../model/model.ts";
import { layerEntries, tensorSchemas } from "../model/schema.ts";
import { keys } from "./own_profile.ts";
import {
  checkProfile,
  hottestFirst,
  type LayerProfile,
  type Profile,
} from "./profile.ts";

/** Bytes that are read at a time where a tensor need not be whole. */
const chunkBytes = 4 << 20;

/**
 * The bytes of a model's file with the neurons of each layer in order of how
 * often they fire, and the profile among the metadata. One tensor at most is in
 * memory at a time.
 *
 * @throws {FormatError} where the profile has another shape than the model
 * @throws {UnsupportedError} where `ffn_down` is quantised: its blocks hold
 * several neurons, so that moving one would change weights; where gate and up
 * are one tensor; and of a mixture of experts
 *
 * @example
 * ```ts ignore
 * const file = await readGguf(source);
 * const model = describeModel(file);
 * for await (const bytes of reorderNeurons(source, file, model, profile)) {
 *   await out.write(bytes);
 * }
 * ```
 */
export async function* reorderNeurons(
  source: ByteSource,
  file: GgufFile,
  model: Model,
  profile: Profile,
): AsyncGenerator<Uint8Array, void, void> {
  checkProfile(profile, model);
  if (model.routing) {
    throw new UnsupportedError("Cannot reorder a mixture of experts");
  }
  const rows = new Map<TensorInfo, Uint32Array>();
  const columns = new Map<TensorInfo, Uint32Array>();
  const layers = model.layers.map((layer, i): LayerProfile => {
    const order = fileOrder(profile, i);
    for (const [name, tensor] of layerEntries(layer)) {
      const { shape } = tensorSchemas[name];
      if (shape[1] === "ffn") rows.set(tensor, order);
      if (shape[0] === "ffn" || shape[0] === "expert") {
        columns.set(movable(tensor), order);
      }
    }
    const { gatePositive, active } = profile.layers[i];
    return {
      gatePositive: order.map((id) => gatePositive[id]),
      active: order.map((id) => active[id]),
    };
  });
  const own = new Set(file.tensors.values());
  const part = [...rows.keys(), ...columns.keys()].find((each) =>
    !own.has(each)
  );
  if (part) {
    throw new UnsupportedError(
      `Cannot reorder tensor ${part.name}: the file has it in one with others`,
    );
  }
  const metadata = new Map(file.metadata);
  metadata.set(keys.tokens, { type: "uint64", value: profile.tokens });
  for (const name of ["gatePositive", "active"] as const) {
    const values = layers.flatMap((layer) => Array.from(layer[name]));
    const value = { elementType: "uint32", values } as const;
    metadata.set(keys[name], { type: "array", value });
  }
  yield* writeGguf({
    magic: file.magic,
    version: file.version,
    metadata,
    tensors: Array.from(file.tensors.values(), (tensor) => ({
      ...tensor,
      data: () =>
        readMoved(source, tensor, rows.get(tensor), columns.get(tensor)),
    })),
  });
}

/** Stretches of a layer's neurons, each of them hottest first. */
const runs = 64;

/**
 * A layer's neurons in the order of the reordered file. They are dealt to
 * stretches like cards, back and forth, so that places which take one part of
 * the file each get as many hot ones as the others.
 */
export function fileOrder(profile: Profile, layer: number): Uint32Array {
  const dealt: number[][] = Array.from({ length: runs }, () => []);
  hottestFirst(profile, layer).forEach((id, rank) => {
    const card = rank % runs, isBack = Math.floor(rank / runs) % 2 === 1;
    dealt[isBack ? runs - 1 - card : card].push(id);
  });
  return Uint32Array.from(dealt.flat());
}

function movable(tensor: TensorInfo): TensorInfo {
  const { blockSize } = ggmlTypes[tensor.type];
  if (blockSize > 1) {
    throw new UnsupportedError(
      `Cannot reorder tensor ${tensor.name}: ${tensor.type} keeps ${blockSize} neurons in a block, which only PowerInfer's form (ffn_down_t) does not`,
    );
  }
  return tensor;
}

/**
 * A tensor with its rows, or the weights of each row, in another order: number i
 * is number `order[i]` of the file. Rows are moved in memory, all at once.
 */
async function* readMoved(
  source: ByteSource,
  { type, shape, offset, byteLength }: TensorInfo,
  rows?: Uint32Array,
  columns?: Uint32Array,
): AsyncGenerator<Uint8Array> {
  const stride = rowBytes(type, shape[0]);
  const step = rows
    ? byteLength
    : stride * Math.max(1, Math.floor(chunkBytes / stride));
  for (let at = 0; at < byteLength; at += step) {
    const length = Math.min(step, byteLength - at);
    const bytes = await source.read(offset + at, length);
    if (columns) moveWithinRows(bytes, stride, columns);
    yield rows ? moveRows(bytes, stride, rows) : bytes;
  }
}

function moveRows(
  bytes: Uint8Array,
  stride: number,
  order: Uint32Array,
): Uint8Array {
  const moved = new Uint8Array(bytes.length);
  order.forEach((id, i) =>
    moved.set(bytes.subarray(id * stride, (id + 1) * stride), i * stride)
  );
  return moved;
}

function moveWithinRows(
  bytes: Uint8Array<ArrayBuffer>,
  stride: number,
  order: Uint32Array,
): void {
  const weights = stride / order.length === 4
    ? new Uint32Array(bytes.buffer)
    : new Uint16Array(bytes.buffer);
  for (let first = 0; first < weights.length; first += order.length) {
    const row = weights.slice(first, first + order.length);
    for (let i = 0; i < row.length; i++) weights[first + i] = row[order[i]];
  }
}
