/**
 * How many of a layer's neurons are live in at least one of some consecutive
 * tokens: what a step of several tokens, a prompt or a draft, has to read.
 */

/** Consecutive tokens over which unions are taken: powers of two, ascending. */
export const unionSizes: readonly number[] = [1, 2, 4, 8, 16, 32];

/** When a neuron was live that never was. */
const never = -unionSizes[unionSizes.length - 1];

/** How many of `sizes` windows that end at a token were taken. */
export function unionWindows(tokens: number): number[] {
  return unionSizes.map((size) => Math.max(0, tokens - size + 1));
}

/**
 * Unions over every window of consecutive tokens of a text, in memory for one
 * number a neuron.
 *
 * @example
 * ```ts
 * const unions = new UnionCounter(4);
 * unions.add((neuron) => neuron === 0);
 * unions.add((neuron) => neuron >= 2);
 * console.log(unions.sums.slice(0, 2)); // [3, 3]: 1 + 2 neurons, and 3 in the union of both
 * ```
 */
export class UnionCounter {
  /** For each of {@linkcode unionSizes}: neurons in the union, added over all windows of so many tokens */
  readonly sums: number[] = unionSizes.map(() => 0);
  /** The token for which each neuron was live last */
  readonly #last: Int32Array;
  #tokens = 0;

  /** Of a text that begins; `neurons` are as many as the layer has. */
  constructor(neurons: number) {
    this.#last = new Int32Array(neurons).fill(never);
  }

  /** Takes the next token. Gives how many neurons are live for it. */
  add(isLive: (neuron: number) => boolean): number {
    const last = this.#last, token = this.#tokens++;
    /** Neurons by the smallest union that they are in */
    const firstIn = new Array<number>(unionSizes.length + 1).fill(0);
    for (let neuron = 0; neuron < last.length; neuron++) {
      if (isLive(neuron)) last[neuron] = token;
      // 0 for 0 tokens ago, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, …
      const bits = 32 - Math.clz32(token - last[neuron]);
      firstIn[Math.min(bits, unionSizes.length)]++;
    }
    let live = 0;
    unionSizes.forEach((size, i) => {
      live += firstIn[i];
      if (token + 1 >= size) this.sums[i] += live;
    });
    return firstIn[0];
  }
}
