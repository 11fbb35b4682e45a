/**
 * What a place is: something that holds parts of a model and adds them up.
 * Every place runs the same loop, {@linkcode forward}, over its own parts.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import type { Rates } from "../plan/border.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import type { Batch } from "./batch.ts";
import type { LayerCounts } from "./stats.ts";

/** Holds parts of a model. All matrices are row-major, one row a token. */
export interface Place {
  /** Bytes of weights that this place holds. */
  readonly weightBytes: number;
  /** Gets ready for a step: makes KV pages, copies those that part. */
  begin(batch: Batch): void;
  /** Sets the residual to zero and the partial to its rows of the embedding. */
  embed(batch: Batch): void;
  /** Sets the partial to its heads' share of attention. */
  attention(layer: number, batch: Batch): void;
  /** Computes the values h of its neurons. */
  hidden(layer: number, batch: Batch): void;
  /** The values that `hidden` computed, valid until `down`. */
  neurons(batch: Batch): Neurons;
  /** Sets every |h| of token t that is not above `thresholds[t]` to zero. */
  keepAbove(batch: Batch, thresholds: Float32Array): void;
  /** Sets the partial to its neurons' share of the FFN. */
  down(layer: number, batch: Batch): void;
  /** Computes its rows of the logits of the tokens that want them. */
  head(batch: Batch): void;
  /** What it added last, `[length, partialStride]`. */
  partial(batch: Batch): Float32Array;
  /** Adds a place's partial (its own, or a copy of another's) to its residual. */
  accumulate(partial: Float32Array, batch: Batch): void;
  /** Its columns of the logits, a row for each token that wants them. */
  logits(batch: Batch): Float32Array[];
  /** What it has computed and read so far, by layer. */
  readonly counts: LayerCounts;
  /** How fast it reads its rows, where it has measured that. */
  readonly rates?: Rates;
  /** How fast it reads its rows now, where it can measure that. */
  measureRates?(): Rates;
}

/** The values h of a place's neurons in one layer. */
export interface Neurons {
  /** The file's index of the first of them */
  readonly first: number;
  /** h of each token, `[tokens][neurons]` */
  readonly rows: Float32Array[];
}

/**
 * What the places do together after each stretch of own work:
 * `sum`: every place adds all partials to its residual;
 * `top-k`: the largest |h| of all places are found and the others dropped;
 * `logits`: the places' columns make whole rows.
 */
export type Exchange = "sum" | "top-k" | "logits";

/**
 * The forward pass of one place; it stops wherever the places meet. The same
 * for one token, a prompt, or several sequences' tokens together.
 */
export function* forward(
  model: Model,
  place: Place,
  batch: Batch,
  sparsity: Sparsity,
): Generator<Exchange, void, void> {
  place.begin(batch);
  place.embed(batch);
  yield "sum";
  for (let layer = 0; layer < model.layers.length; layer++) {
    place.attention(layer, batch);
    yield "sum";
    place.hidden(layer, batch);
    if (sparsity.mode === "top-k") yield "top-k";
    place.down(layer, batch);
    yield "sum";
  }
  place.head(batch);
  yield "logits";
}
