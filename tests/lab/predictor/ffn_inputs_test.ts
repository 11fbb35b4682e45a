import assert from "node:assert/strict";
import { LimitError, load } from "../../../mod.ts";
import { collectStates } from "../../../lab.ts";
import { randomModel } from "../../helpers/random_model.ts";

Deno.test("states are the same however many tokens a step holds, and windows begin anew", async () => {
  const { bytes, model } = await randomModel();
  const window = [5, 1, 9, 9, 40, 3, 77];
  const windows = [window, window.slice(0, 3)];
  const collect = async (batchSize: number) => {
    const options = { threads: 2, batchSize, keepFfnInputs: true };
    await using loaded = await load(bytes, options);
    const done: number[] = [];
    const states = await collectStates(
      loaded.engine,
      loaded.model,
      windows,
      undefined,
      (tokens) => done.push(tokens),
    );
    assert.equal(states.tokens, 10);
    return { ...states, done };
  };
  const whole = await collect(128), cut = await collect(3);
  assert.deepEqual(whole.done, [7, 10]);
  assert.deepEqual(cut.done, [3, 6, 7, 10]);
  whole.layers.forEach((values, i) => {
    assert.equal(values.length, 10 * model.hiddenSize);
    assert(values.some((value) => value !== 0));
    values.forEach((value, at) =>
      assert(Math.abs(value - cut.layers[i][at]) < 1e-3)
    );
    const second = values.subarray(7 * model.hiddenSize);
    second.forEach((value, at) => assert(Math.abs(value - values[at]) < 1e-3));
  });
});

Deno.test("more states than the limit are refused with both numbers", async () => {
  const { bytes } = await randomModel();
  await using loaded = await load(bytes, { threads: 0, keepFfnInputs: true });
  const wide = { ...loaded.model, hiddenSize: 2 ** 30 };
  await assert.rejects(
    collectStates(loaded.engine, wide, [[1, 2, 3]]),
    (error: Error) => {
      assert(error instanceof LimitError);
      assert.match(error.message, /over 3 tokens: it takes 25769803776 bytes/);
      assert.match(error.message, /the limit is 8589934592$/);
      return true;
    },
  );
});
