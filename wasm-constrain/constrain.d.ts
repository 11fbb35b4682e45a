/** The exports of the WebAssembly that says which tokens may come next; `src/lib.rs` says what they do. */

/** How a call went: 0 done, 1 refused, 2 more than the limits allow. */
export type Outcome = 0 | 1 | 2;

/** What an instance exports. Pointers are offsets of bytes into its memory, texts are numbers. */
export interface ConstrainExports {
  readonly memory: WebAssembly.Memory;
  allocate(length: number): number;
  release(pointer: number, length: number): void;
  learn(lengths: number, count: number, bytes: number, end: number): Outcome;
  begin_lark(grammar: number, length: number, text: number): Outcome;
  begin_gbnf(words: number, count: number, text: number): Outcome;
  fork(text: number): number;
  forget(text: number): void;
  compute(text: number): Outcome;
  mask(): number;
  take(text: number, token: number): Outcome;
  count_allowed(text: number, ids: number, count: number): number;
  roll_back(text: number, count: number): Outcome;
  may_end(text: number): number;
  must_end(text: number): number;
  force(text: number): number;
  forced(): number;
  message(): number;
  message_length(): number;
}
