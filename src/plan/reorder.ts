/**
 * Model files whose neurons are in order of how often they fire, and which say
 * so themselves. Weights are moved, never changed: any engine runs such a file.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { UnsupportedError } from "../errors.ts";
import { ggmlTypes, rowBytes } from "../formats/ggml/types.ts";
import type { GgufFile, TensorInfo } from "../formats/gguf/read.ts";
import { writeGguf } from "../formats/gguf/write.ts";
import { expertSize } from "../model/experts.ts";
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
 * The bytes of a model's file with the neurons of each layer, or of each expert,
 * in order of how often they fire, and the profile among the metadata. One tensor
 * at most is in memory at a time.
 *
 * @throws {FormatError} where the profile has another shape than the model
 * @throws {UnsupportedError} where `ffn_down` is quantised: its blocks hold
 * several neurons, so that moving one would change weights; and where gate and
 * up are one tensor, or shared experts have tensors of their own
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
  const { expertCount } = model, size = expertSize(model);
  const moves = new Map<string, Move>();
  const layers = model.layers.map((layer, i): LayerProfile => {
    const order = fileOrder(profile, i, expertCount);
    const ofExperts = Array.from({ length: expertCount }, (_, expert) => {
      const first = expert * size;
      return order.slice(first, first + size).map((id) => id - first);
    });
    for (const [name, tensor] of layerEntries(layer)) {
      const { shape: [columnSide, rowSide] } = tensorSchemas[name];
      const move = {
        tensor,
        rows: rowSide === "ffn" ? order : undefined,
        columns: columnSide === "ffn"
          ? [order]
          : columnSide === "expert"
          ? ofExperts
          : undefined,
      };
      if (!move.rows && !move.columns) continue;
      const { name: whole, byteLength } = tensor;
      if (file.tensors.get(whole)?.byteLength !== byteLength) {
        throw new UnsupportedError(
          `Cannot reorder tensor ${whole}: the file has it in one with others, or in several`,
        );
      }
      if (move.columns) checkMovable(tensor);
      moves.set(whole, move);
    }
    const { gatePositive, active } = profile.layers[i];
    return {
      gatePositive: order.map((id) => gatePositive[id]),
      active: order.map((id) => active[id]),
    };
  });
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
      data: () => readMoved(source, moves.get(tensor.name) ?? { tensor }),
    })),
  });
}

/** Stretches of a layer's neurons, each of them hottest first. */
const runs = 64;

/**
 * A layer's neurons in the order of the reordered file: those of one expert behind
 * those of another. An expert's are dealt to stretches like cards, back and forth, so
 * that places which take one part of the file each get as many hot ones as the others.
 */
export function fileOrder(
  profile: Profile,
  layer: number,
  expertCount = 1,
): Uint32Array {
  const hottest = hottestFirst(profile, layer);
  const size = hottest.length / expertCount;
  const experts = Array.from({ length: expertCount }, (_, expert) => {
    const dealt: number[][] = Array.from({ length: runs }, () => []);
    hottest.filter((id) => Math.floor(id / size) === expert)
      .forEach((id, rank) => {
        const card = rank % runs, isBack = Math.floor(rank / runs) % 2 === 1;
        dealt[isBack ? runs - 1 - card : card].push(id);
      });
    return dealt.flat();
  });
  return Uint32Array.from(experts.flat());
}

function checkMovable({ name, type }: TensorInfo): void {
  const { blockSize } = ggmlTypes[type];
  if (blockSize === 1) return;
  throw new UnsupportedError(
    `Cannot reorder tensor ${name}: ${type} keeps ${blockSize} neurons in a block, which only PowerInfer's form (ffn_down_t) does not`,
  );
}

/** A tensor, in the shape that the model has of it, and what is moved: number i is number `order[i]` of the file. */
interface Move {
  readonly tensor: TensorInfo;
  readonly rows?: Uint32Array;
  /** The weights of each row: of so many equal shares of the rows */
  readonly columns?: readonly Uint32Array[];
}

/** A tensor's bytes with its rows, or the weights of each row, in another order. Rows are moved in memory, all at once. */
async function* readMoved(
  source: ByteSource,
  { tensor: { type, shape, offset, byteLength }, rows, columns }: Move,
): AsyncGenerator<Uint8Array> {
  const stride = rowBytes(type, shape[0]);
  const step = rows
    ? byteLength
    : stride * Math.max(1, Math.floor(chunkBytes / stride));
  for (let at = 0; at < byteLength; at += step) {
    const length = Math.min(step, byteLength - at);
    const bytes = await source.read(offset + at, length);
    for (let row = at; columns && row < at + length; row += stride) {
      const share = Math.floor(row * columns.length / byteLength);
      moveWithin(bytes.subarray(row - at, row - at + stride), columns[share]);
    }
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

/** Moves the weights of a row, of two or four bytes each. */
function moveWithin(
  { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>,
  order: Uint32Array,
): void {
  const { length } = order;
  const weights = byteLength / length === 4
    ? new Uint32Array(buffer, byteOffset, length)
    : new Uint16Array(buffer, byteOffset, length);
  const row = weights.slice();
  for (let i = 0; i < length; i++) weights[i] = row[order[i]];
}
