import assert from "node:assert/strict";
import { answerTokens } from "../../src/gateway/answer_tokens.ts";
import { promptText } from "../../src/gateway/prompt_blocks.ts";
import type { JsonObject } from "../../src/formats/json.ts";

Deno.test("an answer's tokens are the most that any server could take the body for", () => {
  const cases: [JsonObject, number][] = [
    [{}, 0],
    [{ max_tokens: null, n_predict: -1, n: 3 }, 0],
    [{ max_completion_tokens: 1, max_tokens: 100_000 }, 100_000],
    [{ max_output_tokens: 7, n_predict: 9, n: 2 }, 18],
    [{ max_tokens: "20", n: 2, best_of: 5 }, 100],
    [{ max_tokens: 10, prompt: "one" }, 10],
    [{ max_tokens: 10, prompt: ["one", "two", "three"] }, 30],
    [{ max_tokens: 10, prompt: [1, 2, 3], n: 2 }, 20],
    [{ max_tokens: 10, prompt: [[1, 2], [3]], n: 2 }, 40],
    [{ max_tokens: 10, prompt: [] }, 10],
  ];
  for (const [body, tokens] of cases) {
    assert.equal(answerTokens(body), tokens, JSON.stringify(body));
  }
});

Deno.test("what an infill is to end with counts as prompt", () => {
  for (const name of ["suffix", "input_suffix"]) {
    assert.match(promptText({ prompt: "a", [name]: "the end" }), /the end/);
  }
});
