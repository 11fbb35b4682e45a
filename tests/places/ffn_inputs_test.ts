/** What is kept of a step is what the gates read: the gates that it gives are those that were counted. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { randomModel } from "../helpers/random_model.ts";

const ids = [5, 1, 9, 9, 40, 3, 77];

for (const threads of [0, 1, 3]) {
  Deno.test(`normed states give the gates that ${threads} threads counted`, async () => {
    const { source, bytes, model } = await randomModel({ layerCount: 3 });
    await using loaded = await load(bytes, {
      threads,
      keepFfnInputs: true,
      countNeurons: true,
    });
    const { engine } = loaded;
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, ids, "none");
    const { hiddenSize, feedForwardSize } = model;
    for (const [i, { ffn_gate }] of model.layers.entries()) {
      const gate = new Float32Array(hiddenSize * feedForwardSize);
      const { offset, byteLength, type } = ffn_gate!;
      dequantise(type, await source.read(offset, byteLength), gate);
      const positive = new Uint32Array(feedForwardSize);
      for (const t of ids.keys()) {
        const x = engine.ffnInputs.row(i, t);
        assert.equal(x.length, hiddenSize);
        for (let j = 0; j < feedForwardSize; j++) {
          let g = 0;
          for (let k = 0; k < hiddenSize; k++) {
            g += gate[j * hiddenSize + k] * x[k];
          }
          if (g > 0) positive[j]++;
        }
      }
      assert.deepEqual(positive, engine.profile().layers[i].gatePositive);
    }
  });
}

Deno.test("normed states are kept only where they are asked for", async () => {
  const { bytes } = await randomModel();
  await using model = await load(bytes, { threads: 0 });
  assert.throws(() => model.engine.ffnInputs, /without keepFfnInputs/);
});
