import assert from "node:assert/strict";
import type { ByteSource } from "../../../src/bytes/byte_source.ts";
import { openFile } from "../../../src/bytes/file.ts";
import { dequantise } from "../../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../../src/formats/ggml/quantise.ts";
import { readGguf, type TensorInfo } from "../../../src/formats/gguf/read.ts";
import { powerInferFiles } from "../../helpers/powerinfer_files.ts";

/** Calls `compare` with each quantised tensor and the f32 weights it was made of. */
async function forEachTensor(
  originalFile: URL,
  quantisedFile: URL,
  compare: (
    tensor: TensorInfo,
    bytes: Uint8Array,
    weights: Float32Array,
  ) => void,
): Promise<void> {
  const original = await openFile(originalFile);
  const quantised = await openFile(quantisedFile);
  const originals = (await readGguf(original)).tensors;
  for (const tensor of (await readGguf(quantised)).tensors.values()) {
    const bytes = await quantised.read(tensor.offset, tensor.byteLength);
    const weights = await readWeights(original, originals.get(tensor.name)!);
    compare(tensor, bytes, weights);
  }
  await original.close();
  await quantised.close();
}

async function readWeights(
  source: ByteSource,
  { type, shape, offset, byteLength }: TensorInfo,
): Promise<Float32Array> {
  const weights = new Float32Array(
    shape.reduce((product, size) => product * size, 1),
  );
  dequantise(type, await source.read(offset, byteLength), weights);
  return weights;
}

for (const { name: model, tensors, q4_0, urlOf } of powerInferFiles) {
  Deno.test(`quantising ${model} to Q8_0 gives the bytes of PowerInfer's \`quantize\``, async () => {
    let compared = 0;
    await forEachTensor(
      urlOf("f16"),
      urlOf("q8_0"),
      ({ name, type }, bytes, weights) => {
        const ours = quantise(type, weights);
        assert.ok(
          ours.every((byte, i) => byte === bytes[i]),
          `${name} ${type}`,
        );
        compared++;
      },
    );
    assert.equal(compared, tensors.dense);
  });

  // That build of `quantize` fuses a multiplication with an addition and so skips
  // one rounding to f32: a weight half-way between two steps may fall the other way.
  Deno.test(`quantising ${model} to Q4_0 gives the bytes of PowerInfer's \`quantize\`, but for ties`, async () => {
    let compared = 0;
    let ties = 0;
    await forEachTensor(
      urlOf("f16.powerinfer"),
      urlOf("q4_0.powerinfer"),
      ({ name, type }, bytes, weights) => {
        if (type !== "Q4_0") return;
        const ours = quantise(type, weights);
        for (let i = 0; i < bytes.length; i++) {
          if (ours[i] === bytes[i]) continue;
          const block = Math.floor(i / 18);
          const within = i % 18 - 2;
          assert.ok(
            within >= 0,
            `${name}: the scale of block ${block} differs`,
          );
          const values = weights.subarray(32 * block, 32 * block + 32);
          if ((ours[i] & 15) !== (bytes[i] & 15)) assertTie(values, within);
          if (ours[i] >> 4 !== bytes[i] >> 4) assertTie(values, within + 16);
          ties++;
        }
        compared += weights.length;
      },
    );
    assert.ok(compared > q4_0.weights, `${compared} weights were compared`);
    assert.ok(ties <= q4_0.ties, `${ties} ties of ${compared} weights`);
  });
}

function assertTie(values: Float32Array, index: number): void {
  const step = Math.max(...values.map(Math.abs)) / 8;
  const steps = Math.abs(values[index] / step);
  assert.ok(Math.abs(steps % 1 - 0.5) < 1e-6, `${steps} steps are no tie`);
}
