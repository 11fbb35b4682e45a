/**
 * Which things are in which slots of a room that does not hold all: experts of a
 * layer, or neurons. The ones used least recently make room, but for those that
 * are pinned.
 */

const none = -1;

/** Slots of things that are numbered from 0 on. */
export class Slots {
  /** By thing */
  readonly #slotOf: Int32Array;
  /** By slot; none where it was freed and is not filled yet */
  readonly #thingIn: Int32Array;
  readonly #isPinned: Uint8Array;
  /** By slot, the ones used before and after it; the last entry begins and ends the ring */
  readonly #before: Int32Array;
  readonly #after: Int32Array;

  /** For `count` things, of which `loaded` are there at first, in this order, and `pinned` stay. */
  constructor(
    count: number,
    loaded: ArrayLike<number>,
    pinned: Iterable<number>,
  ) {
    const { length } = loaded;
    this.#slotOf = new Int32Array(count).fill(none);
    this.#thingIn = Int32Array.from(loaded);
    this.#thingIn.forEach((thing, slot) => this.#slotOf[thing] = slot);
    this.#isPinned = new Uint8Array(length);
    for (const thing of pinned) this.#isPinned[this.#slotOf[thing]] = 1;
    this.#before = new Int32Array(length + 1).fill(length);
    this.#after = new Int32Array(length + 1).fill(length);
    for (let slot = 0; slot < length; slot++) {
      if (!this.#isPinned[slot]) this.#link(slot, this.#before[length]);
    }
  }

  has(thing: number): boolean {
    return this.#slotOf[thing] !== none;
  }

  /** Whether a thing is there for good. */
  stays(thing: number): boolean {
    const slot = this.#slotOf[thing];
    return slot !== none && this.#isPinned[slot] === 1;
  }

  /** Where a thing is, that is used now; undefined where it is not there. */
  find(thing: number): number | undefined {
    const slot = this.#slotOf[thing];
    if (slot === none) return undefined;
    if (!this.#isPinned[slot]) this.#use(slot);
    return slot;
  }

  /**
   * Frees a slot: of a thing that is not `kept`, the one used least recently.
   * Where all are kept it is the one of the largest number, as things are
   * needed in order.
   */
  free(kept?: ReadonlySet<number>): number {
    const end = this.#thingIn.length;
    let best = none;
    for (let slot = this.#after[end]; slot !== end; slot = this.#after[slot]) {
      const thing = this.#thingIn[slot];
      if (thing === none || !kept?.has(thing)) {
        best = slot;
        break;
      }
      if (best === none || thing > this.#thingIn[best]) best = slot;
    }
    const thing = this.#thingIn[best];
    if (thing !== none) this.#slotOf[thing] = none;
    this.#thingIn[best] = none;
    // Where it is not filled, it is the next one.
    this.#unlink(best);
    this.#link(best, end);
    return best;
  }

  /** Says that a thing is in a slot that was freed. */
  put(thing: number, slot: number): void {
    this.#thingIn[slot] = thing;
    this.#slotOf[thing] = slot;
    this.#use(slot);
  }

  #use(slot: number): void {
    this.#unlink(slot);
    this.#link(slot, this.#before[this.#thingIn.length]);
  }

  #unlink(slot: number): void {
    const before = this.#before[slot], after = this.#after[slot];
    this.#after[before] = after;
    this.#before[after] = before;
  }

  /** Puts a slot behind another, or in front of all where that is the ring's end. */
  #link(slot: number, before: number): void {
    const after = this.#after[before];
    this.#before[slot] = before;
    this.#after[slot] = after;
    this.#after[before] = slot;
    this.#before[after] = slot;
  }
}
