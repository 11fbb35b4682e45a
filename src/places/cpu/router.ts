/**
 * Which experts of a layer compute which tokens of a step. Where there is no
 * router, one expert computes all.
 */
import { chooseExperts } from "../../model/experts.ts";
import {
  type Activations,
  allocateRows,
  type F32Rows,
} from "../../kernels/matrix.ts";
import type { Bank, CpuPlaceOptions } from "./options.ts";

/** The tokens that chose one expert. */
export interface ExpertTokens {
  readonly expert: number;
  /** Its number among those that the place has */
  readonly own: number;
  /** Ascending */
  readonly tokens: readonly number[];
  /** What the expert counts for each; 1 where left out */
  readonly weights?: readonly number[];
  /** For each, the number of the expert among those that it chose, ascending */
  readonly slots: readonly number[];
  /** Rows of experts before this one: each has a row for each of its tokens */
  readonly first: number;
}

/** Which experts they are. */
export function idsOf(experts: readonly ExpertTokens[]): Set<number> {
  return new Set(experts.map(({ expert }) => expert));
}

/** Those of the experts that a place has, which are all, or `held` of a layer. */
export function ownOf(
  experts: readonly ExpertTokens[],
  held: readonly number[],
): readonly ExpertTokens[] {
  let first = 0;
  return experts.flatMap((tokens) => {
    const own = held.indexOf(tokens.expert);
    if (own < 0) return [];
    const before = first;
    first += tokens.tokens.length;
    return [{ ...tokens, own, first: before }];
  });
}

/** The same, while tokens choose. */
interface Choice {
  readonly tokens: number[];
  readonly weights: number[];
  readonly slots: number[];
}

/** Scratch of one bank's routers. */
export class Router {
  /** Experts that a token chooses */
  readonly used: number;
  readonly #scores: F32Rows;
  readonly #chosen: Uint32Array;
  readonly #weights: Float64Array;
  #all: readonly ExpertTokens[] = [];

  constructor(readonly options: CpuPlaceOptions, readonly bank: Bank) {
    const { model: { routing, expertCount }, limits } = options;
    this.used = routing?.used ?? 1;
    const count = routing ? expertCount : 0;
    this.#scores = allocateRows(bank.memory, limits.tokens, count);
    this.#chosen = new Uint32Array(this.used);
    this.#weights = new Float64Array(this.used);
  }

  /** All tokens with the first expert; those of the last step's number are kept. */
  all(n: number): readonly ExpertTokens[] {
    if (this.#all[0]?.tokens.length !== n) {
      const tokens = Array.from({ length: n }, (_, t) => t);
      const slots = tokens.map(() => 0);
      this.#all = [{ expert: 0, own: 0, tokens, slots, first: 0 }];
    }
    return this.#all;
  }

  /** Those that some token chose, ascending, by what the layer's router makes of x; and the bytes of weights read. */
  route(
    layer: number,
    x: Activations,
    n: number,
  ): { readonly experts: readonly ExpertTokens[]; readonly bytes: number } {
    const { memory, weights } = this.bank;
    const { routing, expertCount } = this.options.model;
    const { ffn_gate_inp, ffn_gate_inp_bias } = weights.layers[layer]!;
    if (!routing || !ffn_gate_inp) return { experts: this.all(n), bytes: 0 };
    const { pointer, stride } = this.#scores;
    const bytes = ffn_gate_inp.multiply(x, n, this.#scores);
    ffn_gate_inp_bias?.addTo(this.#scores, n);
    const choices: Choice[] = [];
    for (let t = 0; t < n; t++) {
      const scores = memory.f32(pointer + 4 * t * stride, expertCount);
      chooseExperts(routing, scores, this.#chosen, this.#weights);
      this.#chosen.forEach((expert, slot) => {
        const choice = choices[expert] ??= {
          tokens: [],
          weights: [],
          slots: [],
        };
        choice.tokens.push(t);
        choice.weights.push(this.#weights[slot]);
        choice.slots.push(slot);
      });
    }
    const experts: ExpertTokens[] = [];
    let first = 0;
    // Those that nobody chose are holes.
    choices.forEach((choice, expert) => {
      experts.push({ expert, own: expert, ...choice, first });
      first += choice.tokens.length;
    });
    return { experts, bytes };
  }
}
