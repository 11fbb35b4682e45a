/**
 * Which matrices attention has on the device.
 *
 * @module
 */
import { lengthOf } from "../../../model/index_set.ts";
import type { Model } from "../../../model/model.ts";
import { kvHeadsOf, type Part } from "../../../plan/plan.ts";
import type { LayerShards, Shard } from "../../../model/shard.ts";
import { rowsAtOnce, stackOf } from "./matrix.ts";
import {
  matricesByType,
  type MatrixLayout,
  matrixOf,
} from "./matrix_layout.ts";

/** The heads of a layer. */
export type AttentionLayout = ReturnType<typeof attentionLayout>;

/** Lays out the heads of a part; a buffer takes `pieceBytes` at most. */
export function attentionLayout(
  model: Model,
  { attn_q, attn_k, attn_v, attn_output }: LayerShards,
  { heads }: Part,
  pieceBytes: number,
) {
  const matrices = matricesByType([attn_q, attn_k, attn_v]);
  const order = matrices.flatMap(({ shards }) => shards);
  const firstOf = (shard: Shard) =>
    order.slice(0, order.indexOf(shard))
      .reduce((sum, { rows }) => sum + lengthOf(rows), 0);
  const own = {
    start: heads.start * model.headSize,
    end: heads.end * model.headSize,
  };
  return {
    heads: lengthOf(heads),
    kvHeads: lengthOf(kvHeadsOf(model, heads)),
    /** Each is one product: of matrices that lie in one buffer, where they are several */
    projections: fitOneBuffer(matrices, pieceBytes)
      ? [matrices]
      : matrices.map((matrix) => [matrix]),
    /** The first column of queries, keys and values among a token's */
    first: { q: firstOf(attn_q), k: firstOf(attn_k), v: firstOf(attn_v) },
    output: matrixOf(attn_output, own),
  };
}

/** Whether one kernel can read matrices of several types. */
function fitOneBuffer(
  matrices: readonly MatrixLayout[],
  pieceBytes: number,
): boolean {
  return stackOf(matrices).bytes <= pieceBytes &&
    matrices.slice(0, -1).every(({ rows }) => rows % rowsAtOnce === 0);
}
