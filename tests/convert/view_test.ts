import assert from "node:assert/strict";
import fc from "fast-check";
import { openFolder } from "../../src/bytes/folder.ts";
import { convert } from "../../src/convert/convert.ts";
import { viewFolder } from "../../src/convert/view.ts";
import { FormatError } from "../../src/errors.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { load } from "../../src/load/load.ts";
import {
  sharedJson,
  sharedUrl,
  testWithShared,
} from "../helpers/shared_data.ts";

const path = sharedUrl("tiny-bamboo/hf").pathname;

testWithShared(
  "a folder reads, at any range, as the F16 file that it converts to",
  async () => {
    const folder = await openFolder(path);
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

interface Golden {
  readonly prompt: string;
  readonly prompt_ids: number[];
  readonly greedy_ids: number[];
}

testWithShared("a folder runs: the golden tokens of every prompt", async () => {
  await using model = await load(path, { threads: 1 });
  const goldens = sharedJson<Golden[]>("tiny-bamboo/goldens.json");
  for (const { prompt, prompt_ids, greedy_ids } of goldens) {
    assert.deepEqual(model.tokenizer.encode(prompt), prompt_ids);
    const pieces = await Array.fromAsync(
      model.generate(prompt_ids, {
        temperature: 0,
        maxTokens: greedy_ids.length,
      }),
    );
    const ids = pieces.map(({ id }) => id);
    assert.deepEqual(ids, greedy_ids);
  }
});
