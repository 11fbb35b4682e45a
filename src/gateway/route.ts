/** Which upstream a request goes to: pure, so that it can be tested by itself. */
import { mixed } from "./prompt_blocks.ts";
import type { PrefixIndex } from "./prefix_index.ts";

/** An upstream that could answer. */
export interface Candidate {
  /** A hash of its address, the same for every gateway */
  readonly name: number;
  /** By what the index knows it: another number once it has lost what it had seen */
  readonly holder: number;
  /** Requests that it answers, or that wait there */
  readonly load: number;
}

/** What a request says of where it belongs. */
export interface Asked {
  /** A hash of its session, if it has one */
  readonly session?: number;
  /** Hashes of what its prompt begins with */
  readonly blocks: readonly number[];
}

/** How a choice is made. */
export interface RouteOptions {
  /** How many more requests than the least busy one has an upstream may have, and still get those that belong to it */
  readonly threshold: number;
  /** A number from 0 to 1 */
  readonly random: () => number;
}

/**
 * The candidate that a request goes to, which the index knows then to have seen
 * it. It is the one that has answered its session, or else has seen the most of
 * what it begins with, unless that is too busy; else the less busy one of two.
 * These are drawn at random, and by the prompt itself where nobody has seen how
 * it begins: so gateways that know nothing of one another draw the same.
 */
export function route<Each extends Candidate>(
  candidates: readonly [Each, ...Each[]],
  { session, blocks }: Asked,
  index: PrefixIndex,
  { threshold, random }: RouteOptions,
): Each {
  const keys = session === undefined ? blocks : [...blocks, session];
  const most = threshold + Math.min(...candidates.map(({ load }) => load));
  const open = candidates.filter(({ load }) => load <= most);
  const holders = new Set(open.map(({ holder }) => holder));
  const seen = new Set(index.longest(keys, holders));
  const first = session ?? blocks[0];
  const seed = first === undefined || index.has(first)
    ? random() * 2 ** 32
    : first;
  const chosen = leastBusy(
    seen.size > 0
      ? open.filter(({ holder }) => seen.has(holder))
      : twoOf(open, seed),
    index,
  );
  index.add(keys, chosen.holder);
  return chosen;
}

/** Two of some, by a number (rendezvous hashing): of others it draws others, and most stay where one goes. */
function twoOf<Each extends Candidate>(
  candidates: readonly Each[],
  seed: number,
): Each[] {
  const rank = ({ name }: Candidate) => mixed(name ^ mixed(seed)) >>> 0;
  return candidates.toSorted((a, b) => rank(a) - rank(b)).slice(0, 2);
}

/** Who has so many requests more or less changes soon; how many prompts an upstream remembers lasts. */
const chance = 2;

/** Of some the one with the fewest requests, or with hardly more and the fewest prompts to remember. */
function leastBusy<Each extends Candidate>(
  candidates: readonly Each[],
  index: PrefixIndex,
): Each {
  return candidates.reduce((best, each) => {
    const more = each.load - best.load;
    const isLess = Math.abs(more) > chance
      ? more < 0
      : index.countOf(each.holder) < index.countOf(best.holder);
    return isLess ? each : best;
  });
}
