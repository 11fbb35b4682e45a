/**
 * In which of two stack frames a product is computed.
 *
 * V8 aligns stack frames, and the vectors of 16 bytes that a kernel spills
 * into them, to 8 bytes. Where they are 8 bytes off, one in four lies across
 * two cache lines, which takes a prompt's products 8% more time, and one may
 * lie across two pages, which makes a product take two to three times as long
 * (one thread, Xeon). Which it is depends on the frames below, and changes
 * when V8 optimises one of their functions. So it is measured, in the
 * product's own work.
 */

/** Multiply-adds from which a trial's time can be told: some 0.1 ms. */
const leastWork = 1 << 22;
/** Of the rows, each frame computes one in so many while it is tried. */
const trialShare = 16;
/** Tokens after which frames are tried anew. */
const trialTokens = 16;

/** Chooses for the products of one matrix, which are called from one place. */
export class FrameChoice {
  #shifted = false;
  #tokensSince = trialTokens;

  /**
   * Has all `rows` computed: `product` does `count` of them from `first` on,
   * in frames shifted by 8 bytes or not. `columns` multiply-adds a row and token.
   */
  run(
    rows: number,
    columns: number,
    tokens: number,
    product: (first: number, count: number, shifted: boolean) => void,
  ): void {
    this.#tokensSince += tokens;
    const trial = Math.floor(rows / trialShare);
    const isTried = this.#tokensSince >= trialTokens &&
      rows * columns * tokens >= leastWork && trial > 0;
    if (!isTried) return product(0, rows, this.#shifted);
    this.#tokensSince = 0;
    const start = performance.now();
    product(0, trial, false);
    const middle = performance.now();
    product(trial, trial, true);
    const end = performance.now();
    this.#shifted = end - middle < middle - start;
    product(2 * trial, rows - 2 * trial, this.#shifted);
  }
}
