/** What one run took. */
export interface Timing {
  promptMs: number;
  decodeMs: number;
}

/** What is run: ids at once, then ids one by one. */
export interface Work {
  prompt: number[];
  decode: number[];
}
