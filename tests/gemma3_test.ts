/**
 * Gemma 3 270M in Q4_K_M, as people have it, against native llama.cpp on the
 * same file (goldens/gemma3.json says how it was run).
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import golden from "./goldens/gemma3.json" with { type: "json" };
import { allLogits, argmax, mean, nextLogprobs } from "./helpers/logprobs.ts";
import { needs, testNeeding } from "./helpers/needs.ts";
import { dataUrl, hasShared } from "./helpers/shared_data.ts";
import { sharedModel } from "./helpers/shared_model.ts";

const url = new URL(
  `../.cache/models/${golden.model.file}`,
  import.meta.url,
);
const hasModel = existsSync(url);
const open = sharedModel(url, { contextSize: 2048, threads: 2 });

function testWithGemma3(name: string, fn: () => Promise<void>): void {
  testNeeding(needs.gemma3, hasModel, { name: `Gemma 3: ${name}`, fn });
}

testWithGemma3("ids of prompts as llama.cpp has them", async () => {
  const model = await open();
  for (const { prompt, promptIds } of golden.greedy) {
    const ids = model.tokenize(prompt, { parseSpecial: true });
    assert.deepEqual(ids, promptIds, prompt);
  }
});

const text = `text/${golden.text.file}`;

testNeeding(needs.data, hasModel && hasShared(`data/${text}`), {
  name: "Gemma 3: ids of a text as llama.cpp has them",
  async fn() {
    const model = await open();
    const raw = await Deno.readTextFile(dataUrl(text));
    const ids = model.tokenize(raw.slice(0, golden.text.characters));
    const { ids: expected } = golden.text;
    assert.deepEqual(ids.slice(0, expected.length), expected);
  },
});

testWithGemma3("the log-probabilities of a text", async () => {
  const model = await open();
  const logprobs = await nextLogprobs(model, golden.text.ids);
  const nll = -mean(logprobs);
  assert.ok(
    Math.abs(nll / golden.text.nll - 1) < 0.005,
    `NLL ${nll}, llama.cpp's ${golden.text.nll}`,
  );
});

testWithGemma3("greedy choices wherever llama.cpp's are clear", async () => {
  const model = await open();
  let compared = 0;
  for (const { prompt, promptIds, ids, margins } of golden.greedy) {
    const logits = await allLogits(model, [...promptIds, ...ids]);
    ids.forEach((id, i) => {
      if (margins[i] < 0.5) return;
      const chosen = argmax(logits[promptIds.length - 1 + i]);
      assert.equal(chosen, id, `${prompt} … id ${i} of the continuation`);
      compared++;
    });
  }
  assert.ok(compared > 190, `only ${compared} choices were clear`);
});
