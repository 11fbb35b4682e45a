/**
 * Quantised weights are multiplied with activations in 8 bits. What that costs
 * is measured on real text against the reference, which keeps them in f32.
 */
import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { describeModel } from "../../src/model/model.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { startTeam } from "../../src/places/start.ts";
import { ReferencePlace } from "../../src/places/reference/reference_place.ts";
import { InlineTeam } from "../../src/places/inline_team.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { embeddedAsF32 } from "../helpers/bamboo_files.ts";
import { story } from "../helpers/fixtures.ts";
import { requantised } from "../helpers/requantised.ts";

const limits = { tokens: 128, contextSize: 512 };

/** Mean over windows of the context's length, each begun anew. */
async function meanNll(engine: Engine, ids: number[]): Promise<number> {
  let sum = 0, count = 0;
  for (let start = 0; start + 1 < ids.length; start += limits.contextSize) {
    const window = ids.slice(start, start + limits.contextSize);
    using sequence = engine.createSequence();
    const rows = await engine.evaluate(sequence, window, "all");
    for (let i = 1; i < window.length; i++) {
      sum -= logSoftmaxAt(rows[i - 1], window[i]);
      count++;
    }
  }
  return sum / count;
}

async function nlls(source: ByteSource): Promise<[number, number]> {
  const file = await readGguf(source);
  const model = describeModel(file);
  const ids = tokenizerFromGguf(file).encode(story().slice(0, 600));
  const sparsity = { mode: "exact" } as const;
  const plan = splitEvenly(model, 1);
  const [part] = plan.places;
  const place = await ReferencePlace.load(model, part, sparsity, source);
  await using reference = new Engine(
    new InlineTeam("reference", {
      model,
      plan,
      sparsity,
      limits,
      cacheType: "f32",
    }, {
      cpu: [place],
    }),
    model.vocabSize,
  );
  const options = {
    model,
    sparsity,
    limits,
    cacheType: "f16",
    measureRecall: false,
  } as const;
  await using cpu = new Engine(
    await startTeam(source, 0, options),
    model.vocabSize,
  );
  return [await meanNll(cpu, ids), await meanNll(reference, ids)];
}

const types: GgmlType[] = [
  "Q4_0",
  "Q4_1",
  "Q8_0",
  "Q4_K",
  "Q6_K",
  "IQ4_NL",
  "MXFP4",
];
for (const type of types) {
  Deno.test(`${type}: the NLL of a text is the reference's within 0.5%`, async () => {
    const original = await embeddedAsF32();
    const [actual, expected] = await nlls(await requantised(original, type));
    const error = Math.abs(actual / expected - 1);
    assert(
      error < 0.005,
      `${actual}, not ${expected}: off by ${100 * error}%`,
    );
  });
}
