import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import fc from "fast-check";
import { openFolder } from "../../src/bytes/folder.ts";
import { convert } from "../../src/convert/convert.ts";
import { viewFolder } from "../../src/convert/view.ts";
import { FormatError } from "../../src/errors.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import type { LanguageModel } from "../../src/generate/language_model.ts";
import { load } from "../../src/load/load.ts";
import goldens from "../goldens/bamboo.json" with { type: "json" };
import type { Golden } from "../helpers/bamboo_files.ts";
import { fixturePath } from "../helpers/fixtures.ts";
import { hasShared, sharedJson, sharedUrl } from "../helpers/shared_data.ts";

const small = fixturePath("small-bamboo/hf");

Deno.test(
  "a folder reads, at any range, as the F16 file that it converts to",
  async () => {
    const folder = await openFolder(small);
    const file = await convert(folder, { type: "F16" });
    const whole = await toBuffer(file.chunks());
    await file.close();
    const view = await viewFolder(folder);
    try {
      // Padding behind the last tensor is no part of what is read.
      assert.ok(whole.length - view.size < 32);
      const range = fc.tuple(
        fc.nat({ max: view.size }),
        fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 300_000 })),
      );
      await fc.assert(
        fc.asyncProperty(range, async ([offset, most]) => {
          const length = Math.min(most, view.size - offset);
          // A buffer that was used before still has its old content.
          const spare = new Uint8Array(length).fill(7).buffer;
          const bytes = await view.read(offset, length, spare);
          const expected = whole.subarray(offset, offset + length);
          assert.ok(bytes.every((byte, i) => byte === expected[i]));
          assert.equal(bytes.length, length);
        }),
        { seed: 9, numRuns: 200 },
      );
      await assert.rejects(view.read(view.size - 1, 2), FormatError);
    } finally {
      await view.close();
    }
  },
);

/** The likeliest tokens behind a prompt. */
async function greedy(
  model: LanguageModel,
  { prompt_ids, greedy_ids }: Pick<Golden, "prompt_ids" | "greedy_ids">,
): Promise<number[]> {
  const options = { temperature: 0, maxTokens: greedy_ids.length };
  const pieces = await Array.fromAsync(model.generate(prompt_ids, options));
  return pieces.map(({ id }) => id);
}

Deno.test("a folder runs: NumPy's tokens behind every prompt", async () => {
  await using model = await load(small, { threads: 1 });
  for (const golden of goldens["small-bamboo-f16.powerinfer"].exact) {
    assert.deepEqual(await greedy(model, golden), golden.greedy_ids);
  }
});

if (hasShared("tiny-bamboo/hf")) {
  Deno.test("the full-size folder runs: PyTorch's tokens behind every prompt", async () => {
    const path = fileURLToPath(sharedUrl("tiny-bamboo/hf"));
    await using model = await load(path, { threads: 1 });
    for (const golden of sharedJson<Golden[]>("tiny-bamboo/goldens.json")) {
      assert.deepEqual(
        model.tokenizer.encode(golden.prompt),
        golden.prompt_ids,
      );
      assert.deepEqual(await greedy(model, golden), golden.greedy_ids);
    }
  });
}
