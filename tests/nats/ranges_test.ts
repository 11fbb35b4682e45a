import assert from "node:assert/strict";
import fc from "fast-check";
import { readBatch } from "../../server.ts";
import { rangesOf, readRange, writeRange } from "../../cli/queue/ranges.ts";
import { requests } from "./chaos.ts";

const batch = `batch_${"0".repeat(32)}`;

const batchOf = (prompts: readonly string[]) =>
  readBatch(
    prompts.map((prompt, i) =>
      JSON.stringify({
        custom_id: `${i}`,
        method: "POST",
        url: "/v1/completions",
        body: { prompt },
      })
    ).join("\n"),
  );

Deno.test("ranges have each line once, are as small as asked, and are read as they were written", () => {
  const prompts = fc.array(fc.string(), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(prompts, fc.integer({ min: 1, max: 9 }), (prompts, most) => {
      const lines = batchOf(prompts);
      const bytes = 400;
      const ranges = rangesOf(batch, "key", lines, { lines: most, bytes });
      const read = ranges.map((range) => {
        const message = new TextEncoder().encode(writeRange(range));
        assert.ok(range.lines.length <= most && message.length <= bytes);
        return readRange(message, bytes);
      });
      const found = read.flatMap(({ lines }) => lines)
        .sort((a, b) => a.at - b.at);
      assert.deepEqual(found, lines.map((line, at) => ({ at, line })));
    }),
  );
});

Deno.test("ranges end where the beginnings of prompts differ most", () => {
  const topics = ["a", "b", "c"].flatMap((topic) =>
    Array.from({ length: 6 }, (_, i) => `${topic.repeat(40)} ${i}`)
  );
  const ranges = rangesOf(batch, "key", batchOf(topics), {
    lines: 8,
    bytes: 1 << 20,
  });
  assert.deepEqual(ranges.map(({ lines }) => lines.length), [6, 6, 6]);
});

Deno.test("a line that is longer than a message may be is refused with both numbers", () => {
  assert.throws(
    () =>
      rangesOf(batch, "key", batchOf(["a", "b".repeat(2000)]), {
        lines: 8,
        bytes: 1000,
      }),
    /Cannot queue request 2: its message has 2\d\d\d bytes, the queue takes 1000/,
  );
});

const head = (more: object) =>
  JSON.stringify({ batch, key: "key", at: [0, 1], ...more });
const two = requests(2, 1);

for (
  const [name, text, why] of [
    ["nothing", "", /first line is no JSON/],
    ["no JSON", `{\n${two}`, /first line is no JSON/],
    ["a list", `[]\n${two}`, /no object/],
    ["no batch", `${head({ batch: 1 })}\n${two}`, /batch is no id/],
    ["a batch of dots", `${head({ batch: "a.b" })}\n${two}`, /batch is no id/],
    ["a place that is none", `${head({ at: [0, 0.5] })}\n${two}`, /places/],
    ["a place twice", `${head({ at: [1, 1] })}\n${two}`, /places/],
    ["too many places", `${head({ at: [...Array(1025).keys()] })}\n`, /1024/],
    ["a place too few", `${head({ at: [1] })}\n${two}`, /2 requests, and 1 /],
    ["no requests", head({}) + "\n", /empty/],
    ["what is no request", `${head({})}\n{}\n{}`, /custom_id/],
  ] as const
) {
  Deno.test(`a message with ${name} is refused`, () => {
    assert.throws(() => readRange(new TextEncoder().encode(text), 1e6), why);
  });
}

Deno.test("a message that is too long, or no text, is refused", () => {
  assert.throws(() => readRange(new Uint8Array(11), 10), /11 bytes.* 10/);
  assert.throws(() => readRange(Uint8Array.of(255, 10), 10), /UTF-8/);
});
