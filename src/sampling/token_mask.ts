/** Which tokens may come next, by bits: places, samplers and constraints read them alike. */

/** `[vocabSize / 32, rounded up]`: a bit for each token, the lowest first. */
export type TokenMask = Uint32Array;

/** Words of the mask of a vocabulary. */
export function maskWords(vocabSize: number): number {
  return Math.ceil(vocabSize / 32);
}

/** Whether a mask allows a token. */
export function allows(mask: TokenMask, id: number): boolean {
  return (mask[id >>> 5] >>> (id & 31) & 1) !== 0;
}

/** How many tokens a mask allows, of those from `start` to `end` - 1. */
export function countAllowed(
  mask: TokenMask,
  start = 0,
  end = 32 * mask.length,
): number {
  let count = 0;
  for (let word = start >>> 5; 32 * word < end; word++) {
    count += countBits(bitsOf(mask[word], 32 * word, start, end));
  }
  return count;
}

/** Writes the tokens that a mask allows to `ids`, ascending, as numbers from `start` on; gives how many they are. */
export function listAllowed(
  mask: TokenMask,
  ids: Int32Array | Uint32Array,
  start = 0,
  end = 32 * mask.length,
): number {
  let count = 0;
  for (let word = start >>> 5; 32 * word < end; word++) {
    let bits = bitsOf(mask[word], 32 * word, start, end);
    for (; bits !== 0; bits &= bits - 1) {
      ids[count++] = 32 * word + lowestBit(bits) - start;
    }
  }
  return count;
}

/** Makes the logits of tokens that a mask forbids -Infinity; the first is that of token `start`. */
export function forbid(
  mask: TokenMask,
  logits: Float32Array,
  start = 0,
): void {
  const end = start + logits.length;
  for (let word = start >>> 5; 32 * word < end; word++) {
    const first = 32 * word - start;
    // Most words are full, or empty.
    if (mask[word] === 0) {
      logits.fill(-Infinity, Math.max(0, first), first + 32);
      continue;
    }
    let bits = bitsOf(~mask[word], 32 * word, start, end);
    for (; bits !== 0; bits &= bits - 1) {
      logits[first + lowestBit(bits)] = -Infinity;
    }
  }
}

/** The bits of a word, whose first is that of token `first`, that stand for tokens from `start` to `end` - 1. */
function bitsOf(
  word: number,
  first: number,
  start: number,
  end: number,
): number {
  if (first < start) word &= -1 << (start - first);
  if (first + 32 > end) word &= 2 ** (end - first) - 1;
  return word;
}

/** The number of the lowest bit set of a word. */
function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/** How many bits of a word are set. */
function countBits(word: number): number {
  // Sums of pairs, of nibbles, of bytes (Warren, "Hacker's Delight", 2002).
  const pairs = word - (word >>> 1 & 0x55555555);
  const nibbles = (pairs & 0x33333333) + (pairs >>> 2 & 0x33333333);
  return Math.imul(nibbles + (nibbles >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
