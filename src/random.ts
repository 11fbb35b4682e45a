/**
 * The random numbers behind sampling: small, fast, and the same on every
 * machine, so that a seed names a text.
 *
 * xoshiro128++ by D. Blackman and S. Vigna, "Scrambled Linear Pseudorandom
 * Number Generators", ACM TOMS 47 (2021); its state is filled by SplitMix64, as
 * the paper advises.
 */

const mask64 = (1n << 64n) - 1n;

/** SplitMix64: the next output for `state`, which the caller advances by the golden gamma. */
function splitMix64(state: bigint): bigint {
  let z = state;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask64;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask64;
  return z ^ (z >> 31n);
}

function rotateLeft(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}

/** A xoshiro128++ generator. */
export class Random {
  /** Four 32-bit words, not all zero. */
  #state = new Int32Array(4);

  /**
   * Starts from a seed.
   * @param seed an integer, 0..2^53-1
   */
  constructor(seed: number) {
    let state = BigInt(seed);
    for (let i = 0; i < 4; i += 2) {
      state = (state + 0x9e3779b97f4a7c15n) & mask64;
      const word = splitMix64(state);
      this.#state[i] = Number(word & 0xffffffffn);
      this.#state[i + 1] = Number(word >> 32n);
    }
  }

  /** Starts from the four words of the state itself, for comparison with published outputs. */
  static fromState(words: readonly [number, number, number, number]): Random {
    const random = new Random(0);
    random.#state.set(words);
    return random;
  }

  /** The next 32 bits, as an integer 0..2^32-1. */
  nextUint32(): number {
    const s = this.#state;
    const result = (rotateLeft((s[0] + s[3]) | 0, 7) + s[0]) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  /** The next number in [0, 1), with all 53 bits of a double random. */
  next(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 0x4000000 + low) / 0x20000000000000;
  }
}

/** A seed that nobody chose: 32 bits from the platform's own source. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

/** Puts values in a random order, in place (Fisher and Yates). */
export function shuffle(
  values: Float64Array | Uint32Array,
  random: Random,
): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [values[i], values[j]] = [values[j], values[i]];
  }
}
