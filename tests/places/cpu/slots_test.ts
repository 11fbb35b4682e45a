import assert from "node:assert/strict";
import fc from "fast-check";
import { Slots } from "../../../src/places/cpu/slots.ts";

const used = 3;

/** Steps that choose several experts each, ascending. */
const steps = fc.array(
  fc.uniqueArray(fc.nat(15), { minLength: 1, maxLength: 12 })
    .map((experts) => experts.sort((a, b) => a - b)),
  { minLength: 1, maxLength: 20 },
);

Deno.test("each expert has a slot of its own when it is needed, and pinned ones stay", () => {
  fc.assert(fc.property(
    steps,
    fc.uniqueArray(fc.nat(15), { minLength: used, maxLength: 14 }),
    fc.nat(10),
    (steps, loaded, stay) => {
      const pinned = loaded.slice(0, Math.min(stay, loaded.length - used));
      const slots = new Slots(16, loaded, pinned);
      const held = [...loaded];
      for (const step of steps) {
        const ahead = new Set(step);
        for (const expert of step) {
          ahead.delete(expert);
          const found = slots.find(expert);
          assert.equal(found ?? -1, held.indexOf(expert));
          if (found !== undefined) continue;
          const slot = slots.free(ahead);
          assert(!pinned.includes(held[slot]));
          // One that the step still needs goes only where there is no other.
          if (ahead.has(held[slot])) {
            const others = held.filter((each) => !pinned.includes(each));
            assert(others.every((each) => ahead.has(each)));
            assert.equal(held[slot], Math.max(...others));
          }
          held[slot] = expert;
          slots.put(expert, slot);
        }
      }
    },
  ));
});

Deno.test("the expert that was used least recently goes first", () => {
  const slots = new Slots(16, [0, 1, 2, 3], [0]);
  for (const expert of [3, 1, 2, 3]) slots.find(expert);
  const none = new Set<number>();
  const goesFor = (expert: number) => {
    const slot = slots.free(none);
    slots.put(expert, slot);
    return slot;
  };
  assert.deepEqual([4, 5, 6].map(goesFor), [1, 2, 3]);
});

Deno.test("a slot that was freed and not filled is the next to be filled", () => {
  const slots = new Slots(16, [0, 1, 2], []);
  for (const expert of [0, 1, 2]) slots.find(expert);
  const slot = slots.free(new Set());
  assert.equal(slots.find(0), undefined);
  assert.equal(slots.free(new Set()), slot);
});
