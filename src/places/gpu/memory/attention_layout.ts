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

/** Queries, keys and values: their matrices, one for each type of weights, and where results lie. */
export interface AttentionLayout {
  readonly heads: number;
  readonly kvHeads: number;
  /** Each is one product: of matrices that lie in one buffer, where they are several */
  readonly projections: readonly (readonly MatrixLayout[])[];
  /** The first column of each among a token's queries, keys and values */
  readonly first: {
    readonly q: number;
    readonly k: number;
    readonly v: number;
  };
  readonly output: MatrixLayout;
}

/** Lays out the heads of a part; a buffer takes `pieceBytes` at most. */
export function attentionLayout(
  model: Model,
  { attn_q, attn_k, attn_v, attn_output }: LayerShards,
  { heads }: Part,
  pieceBytes: number,
): AttentionLayout {
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
    projections: fitOneBuffer(matrices, pieceBytes)
      ? [matrices]
      : matrices.map((matrix) => [matrix]),
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
