/** What one run took. */
export interface Timing {
  promptMs: number;
  decodeMs: number;
  /** Of all steps of several sequences; absent where the side has none */
  batchMs?: number;
}

/** What is run: ids at once, then ids one by one; then, of several sequences, one id of each a step. */
export interface Work {
  prompt: number[];
  decode: number[];
  /** By step, the ids of all sequences; the first step's are those behind nothing */
  batch: number[][];
}
