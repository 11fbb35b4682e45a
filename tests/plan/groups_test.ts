/** Groups of neurons, and the tree along which their sums are added. */
import assert from "node:assert/strict";
import {
  groupCount,
  groupOf,
  groupStart,
  groupSums,
  termMerges,
} from "../../src/plan/groups.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { randomModel } from "../helpers/random_model.ts";

/** What a stack makes of terms, as text. */
function stackOf(terms: readonly string[], merges: readonly number[]) {
  assert.equal(terms.length, merges.length);
  const stack: string[] = [];
  terms.forEach((term, i) => {
    stack.push(term);
    for (let merge = 0; merge < merges[i]; merge++) {
      const last = stack.pop();
      stack.push(`(${stack.pop()}+${last})`);
    }
  });
  return stack;
}

/** The sum over a layer's groups that some places compute. */
async function sumOf(neurons: number, places: number) {
  const { model } = await randomModel({
    hiddenSize: 8,
    headCount: 1,
    kvHeadCount: 1,
    layerCount: 1,
    feedForwardSize: neurons,
    downByNeuron: true,
  });
  const sums = splitEvenly(model, places).places
    .map(({ parts: [part] }) => groupSums(neurons, part.neurons));
  const terms = sums.map(({ groups, merges, terms }) => {
    const own = Array.from(merges, (_, i) => String(groups.start + i));
    const stack = stackOf(own, merges);
    assert.equal(stack.length, terms);
    return stack;
  });
  const sum = stackOf(terms.flat(), termMerges(neurons, sums));
  assert.equal(sum.length, 1);
  return { sum: sum[0], terms: terms.map(({ length }) => length) };
}

Deno.test("every neuron is in the group that its number says", () => {
  for (const neurons of [1, 5, 64, 127, 128, 1000, 1536, 13824, 14336]) {
    const count = groupCount(neurons);
    assert.equal(groupStart(neurons, 0), 0);
    assert.equal(groupStart(neurons, count), neurons);
    for (let id = 0; id < neurons; id++) {
      const group = groupOf(neurons, id);
      assert(groupStart(neurons, group) <= id, `${id} of ${neurons}`);
      assert(id < groupStart(neurons, group + 1), `${id} of ${neurons}`);
    }
  }
});

Deno.test("any number of places adds the groups along the same tree", async () => {
  for (const neurons of [3, 100, 700, 3072, 14336]) {
    const { sum } = await sumOf(neurons, 1);
    for (const places of [2, 3, 4, 5, 6, 7, 8, 16, 48, 50]) {
      assert.equal(
        (await sumOf(neurons, places)).sum,
        sum,
        `${neurons} neurons, ${places} places`,
      );
    }
  }
});

Deno.test("2, 4 and 8 places of a large model hand over one sum each", async () => {
  for (const places of [2, 4, 8]) {
    const { terms } = await sumOf(14336, places);
    assert.deepEqual(terms, Array(places).fill(1));
  }
});

Deno.test("neurons that are no whole groups give one sum a place", () => {
  const crooked = [[0, 100], [100, 317], [317, 1000]]
    .map(([start, end]) => groupSums(1000, { start, end }));
  assert.deepEqual(crooked.map(({ terms }) => terms), [1, 1, 1]);
  assert.deepEqual(termMerges(1000, crooked), [0, 1, 1]);
});
