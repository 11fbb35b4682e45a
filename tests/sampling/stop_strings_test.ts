import assert from "node:assert/strict";
import fc from "fast-check";
import { UsageError } from "../../src/errors.ts";
import { StopStrings } from "../../src/sampling/stop_strings.ts";

/** Everything that passes when the text comes in these chunks. */
function passed(
  stops: string[],
  chunks: string[],
): { text: string; stopped?: string } {
  const strings = new StopStrings(stops);
  let text = "";
  for (const chunk of chunks) {
    const result = strings.push(chunk);
    text += result.text;
    if (result.stopped !== undefined) return { text, stopped: result.stopped };
  }
  return { text: text + strings.flush(), stopped: undefined };
}

/** By definition: the stop string that ends first, the longest of those. */
function defined(
  stops: string[],
  text: string,
): { text: string; stopped?: string } {
  for (let end = 1; end <= text.length; end++) {
    const ending = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (ending.length === 0) continue;
    const stopped = ending.reduce((a, b) => b.length > a.length ? b : a);
    return { text: text.slice(0, end - stopped.length), stopped };
  }
  return { text, stopped: undefined };
}

const letters = (minLength: number, maxLength: number) =>
  fc.array(fc.constantFrom("a", "b", "c"), { minLength, maxLength }).map((
    list,
  ) => list.join(""));

Deno.test("text passes up to the first stop string, however it is cut", () => {
  fc.assert(
    fc.property(
      fc.array(letters(1, 5), { maxLength: 3 }),
      fc.array(letters(0, 4), { maxLength: 12 }),
      (stops, chunks) => {
        const expected = defined(stops, chunks.join(""));
        assert.deepEqual(passed(stops, chunks), expected);
        assert.deepEqual(passed(stops, [...chunks.join("")]), expected);
        assert.deepEqual(passed(stops, [chunks.join("")]), expected);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("only text that may begin a stop string is held back", () => {
  const stops = new StopStrings(["</s>"]);
  assert.deepEqual(stops.push("one </"), { text: "one " });
  assert.deepEqual(stops.push("b> two"), { text: "</b> two" });
  assert.deepEqual(stops.push("<"), { text: "" });
  assert.equal(stops.flush(), "<");
});

Deno.test("nothing passes after a stop string", () => {
  const stops = new StopStrings(["."]);
  assert.deepEqual(stops.push("a.b"), { text: "a", stopped: "." });
  assert.deepEqual(stops.push("c"), { text: "", stopped: "." });
  assert.equal(stops.flush(), "");
});

Deno.test("an empty stop string is an error", () => {
  assert.throws(() => new StopStrings(["a", ""]), UsageError);
});
