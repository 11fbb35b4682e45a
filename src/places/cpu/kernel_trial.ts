/**
 * Which of several kernels that give the same results multiplies a matrix
 * fastest: while that is tried, each computes a share of the rows, so that it
 * costs no products but those that are needed.
 */
import type { Activations, F32Rows } from "../../kernels/matrix.ts";
import type { PackedMatrix } from "../../kernels/matrix.ts";

/** Products in which each is tried: in the first ones they may not be compiled for good. */
const trials = 12;

/** Chooses for the products of one matrix, by its own times. */
export class KernelTrial {
  /** Of each variant, the least ms of a share of the rows */
  readonly #least: number[];
  #trialsLeft: number;

  /** Of kernels as `choose` numbers them. */
  constructor(
    readonly matrix: PackedMatrix,
    readonly variants: readonly number[],
  ) {
    this.#least = variants.map(() => Infinity);
    this.#trialsLeft = matrix.rows < variants.length ? 0 : trials;
  }

  /** Whether the kernel has been chosen. */
  get isOver(): boolean {
    return this.#trialsLeft === 0;
  }

  /** out[t] = matrix · x[t]; gives the bytes of weights read. */
  multiply(x: Activations, tokens: number, out: F32Rows): number {
    const { matrix, variants } = this, { rows } = matrix;
    const { kernels } = matrix.memory;
    const usual = kernels.choose(this.#fastest);
    if (this.isOver) matrix.multiply(x, tokens, out);
    else {
      this.#trialsLeft--;
      const { length } = variants;
      variants.forEach((variant, i) => {
        // Each has other rows in the next trial.
        const turn = (i + this.#trialsLeft) % length;
        const first = Math.floor(turn * rows / length);
        const end = Math.floor((turn + 1) * rows / length);
        const pointer = out.pointer + 4 * first;
        kernels.choose(variant);
        const start = performance.now();
        matrix.multiplyRange(x, tokens, first, end - first, {
          ...out,
          pointer,
        });
        const ms = performance.now() - start;
        this.#least[i] = Math.min(this.#least[i], ms);
      });
    }
    kernels.choose(usual);
    return rows * matrix.rowBytes;
  }

  get #fastest(): number {
    return this.variants[this.#least.indexOf(Math.min(...this.#least))];
  }
}
