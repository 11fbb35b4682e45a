/**
 * A real model end to end, against native llama.cpp (goldens/smollm2.json says
 * how it was run). The golden's two runs differ: `f32` is what the weights mean,
 * `q4_1` is llama.cpp with activations rounded to 8 bits, as culm rounds them.
 * So culm is held to lie about as close to `f32` as `q4_1` does.
 */

import assert from "node:assert/strict";
import { allLogits, argmax, mean, nextLogprobs } from "./helpers/logprobs.ts";
import { dataUrl } from "./helpers/shared_data.ts";
import { sharedModel } from "./helpers/shared_model.ts";
import { smollm2Url, testWithSmolLM2 } from "./helpers/smollm2.ts";
import golden from "./goldens/smollm2.json" with { type: "json" };

const open = sharedModel(smollm2Url, { contextSize: 2048, threads: 2 });

testWithSmolLM2(
  "ids and chat prompts as llama.cpp and Jinja2 have them",
  [],
  async () => {
    const model = await open();
    for (const { prompt, promptIds, messages } of golden.greedy) {
      const ids = model.tokenize(prompt, { parseSpecial: !!messages });
      assert.deepEqual(ids, promptIds, prompt);
      if (!messages) continue;
      const rendered = model.chatTemplate.render(messages, {
        addGenerationPrompt: true,
      });
      assert.equal(rendered, prompt);
    }
  },
);

const text = `text/${golden.text.file}`;

testWithSmolLM2("ids of a text as llama.cpp has them", [text], async () => {
  const model = await open();
  const raw = await Deno.readTextFile(dataUrl(text));
  const ids = model.tokenize(raw.slice(0, golden.text.characters));
  assert.deepEqual(ids, golden.text.ids);
});

testWithSmolLM2("the log-probability of each token of a text", [], async () => {
  const model = await open();
  const { logprobs, rootMeanSquareDifference } = golden.text;
  const measured = await nextLogprobs(model, golden.text.ids);
  const nll = mean(measured.map((logprob) => -logprob));
  const expected = -mean(logprobs.q4_1);
  const rms = Math.sqrt(
    mean(measured.map((value, i) => (value - logprobs.f32[i]) ** 2)),
  );
  assert.ok(
    Math.abs(nll / expected - 1) < 0.005,
    `NLL ${nll}, llama.cpp's ${expected}`,
  );
  assert.ok(
    rms < 1.25 * rootMeanSquareDifference,
    `root mean square difference ${rms}, llama.cpp's own ${rootMeanSquareDifference}`,
  );
});

testWithSmolLM2(
  "greedy choices wherever llama.cpp's are clear",
  [],
  async () => {
    const model = await open();
    // Three times the root mean square by which 8-bit activations move the
    // difference of two log-probabilities.
    const clear = 3 * Math.SQRT2 * golden.text.rootMeanSquareDifference;
    let compared = 0;
    for (const { prompt, promptIds, f32 } of golden.greedy) {
      const logits = await allLogits(model, [...promptIds, ...f32.ids]);
      f32.ids.forEach((id, i) => {
        if (f32.margins[i] < clear) return;
        const chosen = argmax(logits[promptIds.length - 1 + i]);
        assert.equal(chosen, id, `${prompt} … id ${i} of the continuation`);
        compared++;
      });
    }
    assert.ok(compared > 100, `only ${compared} choices were clear`);
  },
);

testWithSmolLM2("answers a chat as llama.cpp does, and ends", [], async () => {
  const model = await open();
  const { messages, f32 } = golden.greedy.find(({ f32 }) =>
    Math.min(...f32.margins) > 0.5
  )!;
  const ids: number[] = [];
  for await (
    const piece of model.chat(messages!, { temperature: 0, maxTokens: 48 })
  ) ids.push(piece.id);
  assert.deepEqual(ids, f32.ids);
});
