import type { Candidates } from "./candidates.ts";
import type { Random } from "../random.ts";

/** One step of the chain, as llama.cpp defines it: changes the candidates' logits, or drops some of them. */
export type Filter = (
  candidates: Candidates,
  history: readonly number[],
) => void;

/** Keeps the `k` likeliest tokens. */
export function topK(k: number): Filter {
  return (c) => c.keepTop(k);
}

/** Keeps the likeliest tokens up to the one with which their probabilities reach `p` (nucleus sampling). */
export function topP(p: number): Filter {
  return (c) => {
    c.softmax();
    c.keepMass(p, (i) => c.logits[c.ids[i]]);
  };
}

/** Keeps tokens with at least `p` times the probability of the likeliest. */
export function minP(p: number): Filter {
  const margin = Math.log(p);
  return (c) => {
    const least = c.logits[c.best()] + margin;
    c.filter((i) => c.logits[c.ids[i]] >= least);
  };
}

/**
 * Keeps the tokens whose surprise is nearest to the expected surprise, up to
 * the one with which their probabilities reach `p` (Meister et al., "Locally
 * Typical Sampling", 2022).
 */
export function typicalP(p: number): Filter {
  return (c) => {
    c.softmax();
    let entropy = 0;
    for (let i = 0; i < c.count; i++) {
      const q = c.probabilities[i];
      if (q > 0) entropy -= q * Math.log(q);
    }
    c.keepMass(p, (i) => -Math.abs(Math.log(c.probabilities[i]) + entropy));
  };
}

/**
 * Exclude top choices: with this probability, drops all tokens at least
 * `threshold` likely but the least likely of them, where there are two or more.
 */
export function xtc(
  probability: number,
  threshold: number,
  random: Random,
): Filter {
  return (c) => {
    if (random.next() >= probability) return;
    c.softmax();
    let survivor = -1;
    for (let i = 0; i < c.count; i++) {
      if (c.probabilities[i] < threshold) continue;
      if (survivor < 0 || after(c, i, survivor)) survivor = i;
    }
    if (survivor >= 0) {
      c.filter((i) => i === survivor || c.probabilities[i] < threshold);
    }
  };
}

/** Whether the candidate at `i` comes after the one at `j`, likeliest first and lower ids first among equals. */
function after(c: Candidates, i: number, j: number): boolean {
  const a = c.ids[i];
  const b = c.ids[j];
  return c.logits[a] < c.logits[b] || (c.logits[a] === c.logits[b] && a > b);
}

/** Divides the logits; `t` > 0. */
export function temperature(t: number): Filter {
  return (c) => {
    // A quotient that passes f32's range says that the best token is certain.
    const best = c.best();
    if (!Number.isFinite(Math.fround(c.logits[best] / t))) return greedy(c);
    for (let i = 0; i < c.count; i++) c.logits[c.ids[i]] /= t;
  };
}

/** Keeps the likeliest token alone. */
export function greedy(c: Candidates): void {
  c.ids[0] = c.best();
  c.count = 1;
}
