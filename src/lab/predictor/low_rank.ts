/**
 * The best linear map of low rank for the inputs that a model really has: of
 * all maps F of that rank, the one with the least mean square of S·x - F·x over
 * a text's inputs x.
 *
 * With M the second moment of the inputs, it is U·Uᵀ·S, where the columns of U
 * are the first eigenvectors of S·M·Sᵀ. They are found by randomised subspace
 * iteration (Halko, Martinsson & Tropp 2011, arXiv 0909.4061), which multiplies
 * with S and with the inputs alone: neither M nor S·M·Sᵀ is ever formed.
 */
import type { WasmMemory } from "../../kernels/memory.ts";
import type { Random } from "../../random.ts";
import { Dense } from "./dense.ts";
import { eigenOf, inverseCholesky } from "./symmetric.ts";

/** Passes over S: the eigenvalues fall steeply, and so does what a pass leaves over. */
const passes = 3;
/** Directions beyond the rank that are carried along, and left out in the end: the others come out truer. */
const oversampling = 16;
/** What is added to M's diagonal, as a share of its mean: directions that the text lacks count a little. */
const ridge = 0.01;

/** Matrices of one shape after another are factorised in the same memory. */
export class LowRank {
  /** `[rank and some more, inputs]`: z = project · x, each of mean square 1, no two of which go together */
  readonly project: Dense;
  /** `[rank and some more, outputs]`, the transposed: F·x = Σ over k of z[k] · row k */
  readonly rows: Dense;
  /** Rows of the two, the most telling first */
  readonly #size: number;
  readonly #image: Dense;
  readonly #turned: Dense;
  readonly #sample: Dense;
  readonly #gram: Dense;
  readonly #small: Dense;
  /** What is added to the diagonal of the M of the inputs as they stand */
  #ridge = 0;

  /** `S` is `[outputs, inputs]`, and `x` holds an input in each row. */
  constructor(
    memory: WasmMemory,
    readonly S: Dense,
    readonly x: Dense,
    rank: number,
  ) {
    const size = Math.min(rank + oversampling, S.rows, S.columns);
    this.#size = size;
    this.project = new Dense(memory, size, S.columns);
    this.#image = new Dense(memory, size, S.columns);
    this.rows = new Dense(memory, size, S.rows);
    this.#turned = new Dense(memory, size, S.rows);
    this.#sample = new Dense(memory, size, x.rows);
    this.#gram = new Dense(memory, size, size);
    this.#small = new Dense(memory, size, size);
  }

  /** Factorises S as it stands; `pause` is awaited now and then. */
  async factorise(random: Random, pause: () => Promise<void>): Promise<void> {
    const { S, rows, project } = this;
    const image = this.#image;
    this.#ridge = ridge * this.x.meanSquare();
    project.map(() => random.next() - 0.5);
    this.#second(project, image);
    for (let pass = 0; pass < passes; pass++) {
      await pause();
      S.times(image, rows);
      this.#orthonormalise();
      await pause();
      S.transposedTimes(rows, project);
      await pause();
      this.#second(project, image);
    }
    this.#alongAxes();
  }

  /** out = a · M, M the second moment of the inputs with its ridge. */
  #second(a: Dense, out: Dense): void {
    const { x } = this;
    x.transposedTimes(x.times(a, this.#sample), out);
    out.combine(1 / x.rows, this.#ridge, a);
  }

  /**
   * Makes the rows of `rows` orthonormal, but for directions that are hardly
   * there, which stay short. Each round mends what the one before left, and the
   * shift keeps rounding errors from making the matrix of products indefinite
   * (shifted CholeskyQR3, Fukaya et al. 2020, doi 10.1137/18M1218212).
   */
  #orthonormalise(): void {
    for (let round = 0; round < 3; round++) {
      const gram = squareOf(this.rows.times(this.rows, this.#gram));
      shiftDiagonal(gram, this.#size);
      this.#turn(inverseCholesky(gram, this.#size), this.rows, this.#turned);
    }
  }

  /** Turns the subspace so that z falls apart into independent numbers, largest first, and scales them to a mean square of 1. */
  #alongAxes(): void {
    const { project, rows } = this;
    const size = this.#size;
    const gram = this.#image.times(project, this.#gram);
    const { values, vectors } = eigenOf(squareOf(gram), size);
    const least = Math.max(1e-9 * values[0], 1e-30);
    const scaled = (power: number) =>
      vectors.map((v, i) =>
        v * Math.max(values[Math.floor(i / size)], least) ** power
      );
    this.#turn(scaled(0.5), rows, this.#turned);
    this.#turn(scaled(-0.5), project, this.#image);
  }

  /** of = by · of, `by` `[size, size]`. */
  #turn(by: Float64Array, of: Dense, scratch: Dense): void {
    const size = this.#size;
    this.#small.map((_, i, j) => by[i * size + j]);
    of.copy(of.transposedTimes(this.#small, scratch));
  }
}

/** Adds what f32's rounding may have taken from the least eigenvalue of a matrix of products, 2^-22 of its trace. */
function shiftDiagonal(gram: Float64Array, n: number): void {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram[i * n + i];
  for (let i = 0; i < n; i++) gram[i * n + i] += trace * 2 ** -22;
}

/** A square matrix, `[n, n]`, made symmetric. */
function squareOf(matrix: Dense): Float64Array {
  const n = matrix.rows;
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = matrix.row(i);
    for (let j = 0; j < n; j++) {
      out[i * n + j] += row[j] / 2;
      out[j * n + i] += row[j] / 2;
    }
  }
  return out;
}
