import assert from "node:assert/strict";
import fc from "fast-check";
import { mergeSymbols } from "../../src/tokenizer/merge.ts";

/** Byte-pair encoding as it is defined: looks for the best pair again after each merge. */
function mergeSlowly(
  text: string,
  ranks: ReadonlyMap<string, number>,
): string[] {
  const symbols = [...text];
  while (true) {
    let best = Infinity;
    let at = -1;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = ranks.get(`${symbols[i]} ${symbols[i + 1]}`) ?? Infinity;
      if (rank < best) [best, at] = [rank, i];
    }
    if (at < 0) return symbols;
    symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
  }
}

Deno.test("symbols merge as byte-pair encoding is defined", () => {
  const symbol = fc.string({
    unit: fc.constantFrom("a", "b", "c"),
    minLength: 1,
    maxLength: 3,
  });
  // Few different ranks, so that many merges are equals.
  const anyRanks = fc.array(fc.tuple(symbol, symbol, fc.nat(5)))
    .map((merges) =>
      new Map(merges.map(([left, right, rank]) => [`${left} ${right}`, rank]))
    );
  const anyWord = fc.string({
    unit: fc.constantFrom("a", "b", "c"),
    maxLength: 30,
  });
  fc.assert(
    fc.property(anyWord, anyRanks, (word, ranks) => {
      const bounds = mergeSymbols(
        Array.from({ length: word.length + 1 }, (_, i) => i),
        (start, middle, end) =>
          ranks.get(`${word.slice(start, middle)} ${word.slice(middle, end)}`),
      );
      const merged = bounds.slice(1).map((end, i) =>
        word.slice(bounds[i], end)
      );
      assert.deepEqual(merged, mergeSlowly(word, ranks));
    }),
    { numRuns: 1000 },
  );
});
