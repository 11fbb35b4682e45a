/** Random numbers that a seed repeats, so that a failing test fails again. */

/** Uniform numbers in [0, 1), by xorshift32. */
export function seededRandom(seed: number): () => number {
  // A zero state would stay zero; the product spreads neighbouring seeds.
  let state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (Math.imul(state, 0x2c1b3c6d) >>> 0) / 2 ** 32;
  };
}

/** Normally distributed numbers (mean 0, deviation 1), by Box and Muller. */
export function seededGaussian(seed: number): () => number {
  const uniform = seededRandom(seed);
  return () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) *
    Math.cos(2 * Math.PI * uniform());
}

/** `length` normal numbers times `scale`, as f32. */
export function gaussianVector(
  length: number,
  seed: number,
  scale = 1,
): Float32Array<ArrayBuffer> {
  const gaussian = seededGaussian(seed);
  return Float32Array.from({ length }, () => gaussian() * scale);
}
