/** Of several kernels the fastest is taken, and while they are tried every row is computed once. */
import assert from "node:assert/strict";
import type { Activations, PackedMatrix } from "../../../src/kernels/matrix.ts";
import { KernelTrial } from "../../../src/places/cpu/kernel_trial.ts";

/** A matrix whose rows take some ms each, by the kernel that was chosen. */
function slowMatrix(rows: number, msOf: (variant: number) => number) {
  let chosen = 9;
  const computed: number[] = Array(rows).fill(0);
  const used: number[] = [];
  const compute = (first: number, count: number) => {
    used.push(chosen);
    for (let row = first; row < first + count; row++) computed[row]++;
    const end = performance.now() + count * msOf(chosen);
    while (performance.now() < end);
  };
  const choose = (variant: number) => {
    const before = chosen;
    chosen = variant;
    return before;
  };
  const matrix = {
    rows,
    rowBytes: 3,
    memory: { kernels: { choose } },
    multiply: () => compute(0, rows),
    multiplyRange: (
      _x: unknown,
      _tokens: number,
      first: number,
      count: number,
      out: { pointer: number },
    ) => {
      assert.equal(out.pointer, 1000 + 4 * first);
      compute(first, count);
    },
  } as unknown as PackedMatrix;
  return { matrix, computed, used, usual: () => chosen };
}

Deno.test("the fastest kernel is found, and the usual one is back behind each product", () => {
  for (const rows of [2, 7, 64]) {
    const { matrix, computed, used, usual } = slowMatrix(
      rows,
      (variant) => variant === 5 ? 0.02 : 0.06,
    );
    const variants = rows > 2 ? [0, 2, 5] : [0, 5];
    const trial = new KernelTrial(matrix, variants);
    const multiply = () =>
      trial.multiply({} as Activations, 1, { pointer: 1000, stride: rows });
    let products = 0;
    while (!trial.isOver) {
      assert.equal(multiply(), 3 * rows);
      assert.equal(usual(), 9);
      products++;
      assert(computed.every((count) => count === products));
    }
    assert.deepEqual([...new Set(used)], variants);
    used.length = 0;
    multiply();
    assert.deepEqual(used, [5]);
    assert.equal(usual(), 9);
  }
});

Deno.test("of fewer rows than kernels none is tried", () => {
  const { matrix, used } = slowMatrix(2, () => 0);
  const trial = new KernelTrial(matrix, [4, 5, 6]);
  assert(trial.isOver);
  trial.multiply({} as Activations, 1, { pointer: 1000, stride: 2 });
  assert.deepEqual(used, [4]);
});
