import assert from "node:assert/strict";
import fc from "fast-check";
import { tinyServer } from "./tiny_server.ts";

/** Whatever JSON may hold, and what a text of it may. */
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(1e308, -1, 0.5, "", "\ud800", "<|im_start|>", null),
  fc.string({ unit: "binary" }),
);

const message = fc.oneof(
  anything,
  fc.record({ role: anything, content: anything }),
  fc.record({
    role: fc.constantFrom("user", "system", "assistant", "tool", "developer"),
    content: fc.oneof(
      anything,
      fc.array(
        fc.record({ type: fc.constantFrom("text", "x"), text: anything }),
      ),
    ),
  }),
);

const fields = [
  "messages",
  "model",
  "n",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "stop",
  "stream",
  "stream_options",
  "logprobs",
  "top_logprobs",
  "logit_bias",
  "samplers",
  "dry_sequence_breakers",
  "presence_penalty",
  "response_format",
  "tools",
  "tool_choice",
  "chat_template_kwargs",
  "echo",
  "suffix",
  "best_of",
  "prompt",
  "content",
  "tokens",
  "input",
  "add_special",
  "with_pieces",
];

/** What is answered as it stands, by path. */
const wellFormed = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "Tom" }] },
  "/v1/completions": { prompt: "Tom" },
  "/v1/embeddings": { input: "Tom" },
  "/tokenize": { content: "Tom" },
  "/detokenize": { tokens: [5] },
};

const path = fc.constantFrom(
  ...Object.keys(wellFormed) as (keyof typeof wellFormed)[],
);

/** What some fields are instead. */
const changes = fc.dictionary(
  fc.constantFrom(...fields),
  fc.oneof(anything, fc.array(message, { maxLength: 3 })),
  { minKeys: 1, maxKeys: 3 },
);

const request = fc.oneof(
  { weight: 1, arbitrary: fc.tuple(path, fc.string({ unit: "binary" })) },
  {
    weight: 9,
    arbitrary: fc.tuple(path, changes).map(([path, changed]) => {
      // Else what is well-formed by chance would take its time.
      const limits = { max_tokens: 1, max_completion_tokens: 1 };
      const body = { ...wellFormed[path], ...changed, ...limits };
      return [path, JSON.stringify(body)] as const;
    }),
  },
);

Deno.test("no request is too malformed for a typed error, and the next is answered", async () => {
  const told: unknown[] = [];
  await using tiny = await tinyServer({ onError: (error) => told.push(error) });
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(request, async ([path, text]) => {
      const response = await tiny.post(path, text);
      const answer = await response.text();
      const isKnown = [200, 400, 413, 501].includes(response.status);
      assert.ok(isKnown, `${response.status}: ${answer}`);
      if (response.status === 200) {
        assert.doesNotMatch(answer, /"error"/);
        answered++;
        return;
      }
      const { error } = JSON.parse(answer);
      assert.match(error.message, /^[A-Z].{5}/);
      assert.notEqual(error.type, undefined);
    }),
    { numRuns: 400 },
  );
  assert.deepEqual(told, []);
  // What is changed is often a field that is ignored.
  assert.ok(answered > 40 && answered < 360, `${answered} of 400`);
  assert.equal(tiny.model.engine.pagesTaken, 0);
  const next = await tiny.post("/v1/completions", {
    prompt: "Tom",
    max_tokens: 2,
  });
  await next.body!.cancel();
  assert.equal(next.status, 200);
});
