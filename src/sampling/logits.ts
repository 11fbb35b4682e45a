/** The largest logits after a token, and what turns them into probabilities. */
export interface TopLogits {
  /** [k]: the largest logit's first, the lower id first among equals. */
  readonly ids: Int32Array;
  /** [k], beside `ids`. */
  readonly logits: Float32Array;
  /** log Σ exp over the logits of the whole vocabulary; NaN where it was not asked for. */
  readonly logSumExp: number;
}

/** What a model says of the next token: all logits, `[vocabSize]`, or the largest of them. */
export type Logits = Float32Array | TopLogits;
