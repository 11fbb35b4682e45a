import { bisect } from "../../bisect.ts";
import { Random } from "../../random.ts";

/** Random numbers for one use of a seed, unrelated to those for other uses. */
export function randomFor(seed: number, use: string): Random {
  // FNV-1a, 32 bits.
  let hash = 0x811c9dc5;
  for (const character of `${seed} ${use}`) {
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  }
  return new Random(hash >>> 0);
}

/** Independent normal numbers of mean 0, by Box and Muller. */
export function gaussians(
  length: number,
  deviation: number,
  random: Random,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(length);
  for (let i = 0; i < length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - random.next()));
    const angle = 2 * Math.PI * random.next();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** A vector of this length (norm), in any direction. */
export function direction(
  dimensions: number,
  length: number,
  random: Random,
): Float32Array<ArrayBuffer> {
  const values = gaussians(dimensions, 1, random);
  const scale = length / Math.hypot(...values);
  return values.map((value) => value * scale);
}

/**
 * How likely a standard normal number is below `x`; within 1e-7 (Abramowitz
 * and Stegun 26.2.17).
 */
function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const polynomial = t * (0.31938153 +
    t * (-0.356563782 +
        t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const beyond = polynomial * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  return x < 0 ? beyond : 1 - beyond;
}

/** The number below which a standard normal one is with probability `p`. */
export function normalQuantile(p: number): number {
  return bisect(-6, 6, (x) => normalCdf(x) > p);
}
