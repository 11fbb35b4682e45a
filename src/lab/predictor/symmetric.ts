/** Small symmetric matrices, `[n, n]` row-major, in f64. */

/**
 * The inverse of the Cholesky factor: with S = L·Lᵀ, gives L⁻¹, lower
 * triangular. Pivots below `floor` times the mean of the diagonal are raised to
 * it, so that a direction that is not there stays small and nothing is NaN.
 */
export function inverseCholesky(
  matrix: Float64Array,
  n: number,
  floor = 1e-7,
): Float64Array {
  const L = new Float64Array(n * n);
  const least = floor * trace(matrix, n) / n || 1;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j];
      for (let k = 0; k < j; k++) sum -= L[i * n + k] * L[j * n + k];
      L[i * n + j] = i === j
        ? Math.sqrt(Math.max(sum, least))
        : sum / L[j * n + j];
    }
  }
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    inverse[i * n + i] = 1 / L[i * n + i];
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum += L[i * n + k] * inverse[k * n + j];
      inverse[i * n + j] = -sum / L[i * n + i];
    }
  }
  return inverse;
}

/** Eigenvalues, largest first, and a row of `vectors`, `[n, n]`, for each. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/** By cyclic Jacobi rotations (Golub & Van Loan, Matrix Computations, 8.5). */
export function eigenOf(symmetric: Float64Array, n: number): Eigen {
  const a = symmetric.slice();
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  const small = 1e-18 * squares(a);
  for (let sweep = 0; sweep < 30 && offDiagonal(a, n) > small; sweep++) {
    for (let p = 0; p < n - 1; p++) {
      for (let q = p + 1; q < n; q++) rotate(a, vectors, n, p, q);
    }
  }
  const order = Array.from({ length: n }, (_, i) => i)
    .sort((i, j) => a[j * n + j] - a[i * n + i]);
  const sorted = new Float64Array(n * n);
  order.forEach((from, to) =>
    sorted.set(vectors.subarray(from * n, (from + 1) * n), to * n)
  );
  return {
    values: Float64Array.from(order, (i) => a[i * n + i]),
    vectors: sorted,
  };
}

/** Makes a[p][q] zero; the rows of `vectors` turn along. */
function rotate(
  a: Float64Array,
  vectors: Float64Array,
  n: number,
  p: number,
  q: number,
): void {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1), s = t * c;
  turnRows(a, n, p, q, c, s);
  for (let k = 0; k < n; k++) {
    const kp = a[k * n + p], kq = a[k * n + q];
    a[k * n + p] = c * kp - s * kq;
    a[k * n + q] = s * kp + c * kq;
  }
  turnRows(vectors, n, p, q, c, s);
}

function turnRows(
  m: Float64Array,
  n: number,
  p: number,
  q: number,
  c: number,
  s: number,
): void {
  for (let k = 0; k < n; k++) {
    const pk = m[p * n + k], qk = m[q * n + k];
    m[p * n + k] = c * pk - s * qk;
    m[q * n + k] = s * pk + c * qk;
  }
}

function trace(m: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += m[i * n + i];
  return sum;
}

function squares(m: Float64Array): number {
  return m.reduce((sum, value) => sum + value * value, 0);
}

function offDiagonal(m: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) sum += 2 * m[i * n + j] ** 2;
  }
  return sum;
}
