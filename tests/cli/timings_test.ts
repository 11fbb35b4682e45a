/** The block of timings, by what summaries say. */
import assert from "node:assert/strict";
import type { Summary } from "../../mod.ts";
import { Timings } from "../../cli/timings.ts";

const stats = (tokens: number) => ({ tokens, layers: [], headBytes: 0 });

const summary: Summary = {
  finishReason: "length",
  promptTokens: 12,
  cachedTokens: 2,
  completionTokens: 31,
  draftedTokens: 24,
  acceptedTokens: 18,
  promptMs: 100,
  completionMs: 600,
  seed: 1,
  promptStats: stats(10),
  completionStats: stats(36),
};

Deno.test("tokens that were drafted in vain are no runs, and drafts have a line", () => {
  const timings = new Timings(50);
  timings.add(summary, 100);
  const text = timings.toString();
  assert.match(text, / eval time = +600\.00 ms \/ +30 runs .* 50\.00 tokens/);
  assert.match(text, /^ +drafts = +75\.0 % accepted \(18 of 24 tokens\)$/m);
  const plain = new Timings(50);
  plain.add({ ...summary, draftedTokens: 0, acceptedTokens: 0 });
  assert.doesNotMatch(plain.toString(), /drafts/);
});
