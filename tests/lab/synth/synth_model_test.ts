import assert from "node:assert/strict";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { readGguf } from "../../../src/formats/gguf/read.ts";
import { toBuffer } from "../../../src/formats/gguf/write.ts";
import { describeModel } from "../../../src/model/model.ts";
import {
  type SynthOptions,
  synthShapes,
} from "../../../src/lab/synth/options.ts";
import { asType, synthModel } from "../../../src/lab/synth/synth_model.ts";
import { synthesise } from "../../../src/lab/synth/synthesise.ts";

const options: SynthOptions = {
  shape: { ...synthShapes.tiny, layerCount: 2, vocabSize: 400 },
  type: "Q8_0",
  form: "powerinfer",
  activation: "drelu",
  gatePositive: 0.39,
  active: 0.15,
  predictor: { rank: 64, recall: 0.9 },
  seed: 1,
};

async function written(options: SynthOptions) {
  const bytes = await toBuffer(synthesise(options).chunks);
  return describeModel(await readGguf(fromBuffer(bytes)));
}

Deno.test("a synthetic model is described as its file would be, without its weights", async () => {
  assert.deepEqual(await synthModel(options), await written(options));
});

Deno.test("asType gives every matrix the sizes that a file of that type has", async () => {
  const model = asType(await synthModel(options), "F16");
  const file = await written({ ...options, type: "F16" });
  const sizes = ({ layers, output, token_embd, output_norm }: typeof model) =>
    [
      ...layers.flatMap((layer) => Object.values(layer)),
      output,
      token_embd,
      output_norm,
    ]
      .map((tensor) =>
        tensor && [tensor.name, tensor.type, tensor.shape, tensor.byteLength]
      );
  assert.deepEqual(sizes(model), sizes(file));
  const tied = { ...model, output: model.token_embd };
  const retyped = asType(tied, "Q4_0");
  assert.equal(retyped.output, retyped.token_embd);
});
