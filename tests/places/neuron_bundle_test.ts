/**
 * Files in which gate, up and down of each neuron lie side by side: they run as
 * those of which they were made.
 */
import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { convert, type ConvertOptions } from "../../src/convert/convert.ts";
import { UsageError } from "../../src/errors.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { totalOf } from "../../src/places/stats.ts";
import { budgetsOf, ModelFile, runOn } from "../helpers/budgets.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";

/** Six groups of neurons that are summed apart. */
const sizes = { layerCount: 3, feedForwardSize: 384 };

/** The file that `convert` makes of a source. */
async function converted(
  source: ByteSource,
  options: ConvertOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = await convert(source, { threads: 0, ...options });
  try {
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for await (const chunk of file.chunks()) chunks.push(chunk.slice());
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
  } finally {
    await file.close();
  }
}

for (
  const [name, mode] of [["gates", "exact"], [
    "a predictor",
    "predictor",
  ]] as const
) {
  Deno.test(`a file of bundled neurons gives the same bits, with a budget and without: ${name}`, async () => {
    const sparsity = { mode };
    await using apart = await ModelFile.write({
      ...sizes,
      downByNeuron: true,
      predictorRank: 32,
      type: "Q4_0",
    });
    await using bundled = await ModelFile.of(
      await converted(apart.source, { bundle: true }),
    );
    const { tensors } = await readGguf(bundled.source);
    assert.deepEqual(
      [...tensors.keys()].filter((name) => /gate|up|down|neurons/.test(name)),
      [0, 1, 2].map((layer) => `blk.${layer}.ffn_neurons.weight`),
    );
    const { bits } = await runOn(apart, { threads: 0, sparsity });
    for (const threads of [0, 2]) {
      const { least, all } = await budgetsOf(bundled, threads, sparsity);
      for (const memoryBudget of [undefined, least, (least + all) / 2]) {
        const own = await runOn(bundled, { threads, sparsity, memoryBudget });
        assert.deepEqual(own.bits, bits, `${threads} threads, ${memoryBudget}`);
      }
    }
    // Apart again, it is as it was.
    const [back, before] = await Promise.all(
      [await converted(bundled.source, {}), await converted(apart.source, {})],
    );
    assert.deepEqual(back, before);
  });
}

Deno.test("a cold neuron of a bundle is one read: rows of up and down come together", async () => {
  await using apart = await ModelFile.write({
    ...sizes,
    downByNeuron: true,
    type: "Q8_0",
  });
  await using bundled = await ModelFile.of(
    await converted(apart.source, { bundle: true }),
  );
  const { least, all } = await budgetsOf(apart, 0);
  const memoryBudget = (least + all) / 2;
  const missed = async (file: ModelFile) => {
    const { stats } = await runOn(file, { threads: 0, memoryBudget });
    return totalOf(stats, "missedRows");
  };
  const [together, each] = [await missed(bundled), await missed(apart)];
  assert(together < 0.9 * each, `${together} of ${each}`);
});

Deno.test("what cannot be bundled is refused", async () => {
  const refuses = async (
    options: RandomModelOptions,
    asked: ConvertOptions,
    message: RegExp,
  ) => {
    const { source } = await randomModel({ ...sizes, ...options });
    await assert.rejects(converted(source, asked), (error: Error) => {
      assert(error instanceof UsageError);
      assert.match(error.message, message);
      return true;
    });
  };
  await refuses(
    { architecture: "smallthinker", expertCount: 4, downByNeuron: true },
    { bundle: true },
    /^Cannot bundle the neurons of random model: it has experts, which are read whole$/,
  );
  await refuses(
    { architecture: "arcee", downByNeuron: true },
    { bundle: true },
    /^Cannot bundle the neurons of random model: there is no blk\.0\.ffn_gate\.weight$/,
  );
  await refuses(
    {},
    { bundle: true, form: "llama" },
    /^Cannot bundle neurons in a file of form llama/,
  );
});
