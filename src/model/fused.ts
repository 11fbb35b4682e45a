/**
 * Tensors that hold several of the schema's, one behind the other: `attn_qkv`,
 * and in some architectures gate and up. Their rows lie whole, so each is a
 * tensor by itself, at an offset.
 */
import { FormatError } from "../errors.ts";
import { rowBytes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/gguf_file.ts";
import { type SideLengths, sideLengths, type Sizes } from "./schema.ts";

type Side = "q" | "kv" | "ffn";

/** What a tensor's rows are, in their order. */
const parts: Readonly<
  Record<string, readonly (readonly [name: string, rows: Side])[]>
> = {
  attn_qkv: [["attn_q", "q"], ["attn_k", "kv"], ["attn_v", "kv"]],
  ffn_up: [["ffn_gate", "ffn"], ["ffn_up", "ffn"]],
};

/** Whether a tensor of this name holds several, whatever the architecture. */
export function isFused(name: string): boolean {
  return /^blk\.\d+\.attn_qkv\.(weight|bias)$/.test(name);
}

/** A file's tensors, those that hold several replaced by these. */
export function unfused(
  tensors: ReadonlyMap<string, TensorInfo>,
  sizes: Sizes,
  fusesGate = false,
): ReadonlyMap<string, TensorInfo> {
  const lengths = sideLengths(sizes);
  const all = [...tensors].flatMap(([name, tensor]) => {
    const [, block, own, kind] =
      name.match(/^(blk\.\d+)\.(\w+)\.(weight|bias)$/) ?? [];
    const isSeveral = isFused(name) ||
      own === "ffn_up" && fusesGate &&
        !tensors.has(`${block}.ffn_gate.${kind}`);
    return isSeveral
      ? split(tensor, lengths, parts[own]).map((part, i) => ({
        ...part,
        name: `${block}.${parts[own][i][0]}.${kind}`,
      })).map((part) => [part.name, part] as const)
      : [[name, tensor] as const];
  });
  const found = new Map<string, TensorInfo>();
  for (const [name, tensor] of all) {
    if (!found.has(name)) found.set(name, tensor);
    else {
      throw new FormatError(
        `Cannot read the model: it has ${name} both by itself and in another tensor`,
      );
    }
  }
  return found;
}

/** The rows, or elements, of a tensor in parts. */
function split(
  tensor: TensorInfo,
  lengths: Pick<SideLengths, Side>,
  parts: readonly (readonly [string, Side])[],
): TensorInfo[] {
  const { name, type, shape } = tensor;
  const isVector = shape.length < 2;
  // Vectors are F32, or refused by whoever looks for them.
  const unit = isVector ? 4 : rowBytes(type, shape[0]);
  const [rows, ...others] = shape.slice(isVector ? 0 : 1);
  const counts = parts.map(([, side]) => lengths[side]);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (rows !== total || others.some((side) => side !== 1)) {
    throw new FormatError(
      `Cannot read tensor ${name}: its shape is [${
        shape.join(", ")
      }], the model needs ${counts.join(" + ")} rows`,
    );
  }
  let offset = tensor.offset;
  return counts.map((count) => {
    const byteLength = count * unit;
    const part = {
      ...tensor,
      shape: isVector ? [count] : [shape[0], count],
      offset,
      byteLength,
    };
    offset += byteLength;
    return part;
  });
}
