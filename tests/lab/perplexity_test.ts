import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CacheType,
  type LanguageModel,
  load,
  type Sparsity,
} from "../../mod.ts";
import { UsageError } from "../../src/errors.ts";
import {
  comparePerplexity,
  estimatePerplexity,
  scoreChunks,
  scoreOf,
  type ScoreOptions,
  textChunks,
  type TextScore,
} from "../../src/lab/perplexity.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import golden from "../goldens/bamboo.json" with { type: "json" };
import fullSize from "../goldens/tiny_bamboo_perplexity.json" with {
  type: "json",
};
import { embeddedAsF32 } from "../helpers/bamboo_files.ts";
import { fixtureUrl, story as wholeStory } from "../helpers/fixtures.ts";
import { dataUrl, hasShared, sharedUrl } from "../helpers/shared_data.ts";

const story =
  "Tom had a red ball. He ran to the park with it, and there was Lily. "
    .repeat(16);

function tiny(sparsity: Sparsity, threads = 0): Promise<LanguageModel> {
  return load(tinyBamboo(), { threads, sparsity, cacheType: "f32" });
}

async function score(
  { engine, tokenizer }: LanguageModel,
  size: number,
  options: ScoreOptions = {},
): Promise<TextScore[][]> {
  const chunks = textChunks(tokenizer, story, size);
  return await Array.fromAsync(scoreChunks(engine, chunks, options));
}

/** The last stories of the shared file, which the small model was not trained on. */
async function lastStories(count: number): Promise<string[]> {
  const path = fileURLToPath(dataUrl("text/tinystories.jsonl.xz"));
  const { stdout } = await new Deno.Command("xz", { args: ["-dc", path] })
    .output();
  return new TextDecoder().decode(stdout).trim().split("\n").slice(-count)
    .map((line) => JSON.parse(line).text);
}

Deno.test("chunks hold the text in order, each begun as a text begins; the rest is dropped", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 4, max: 40 }),
      fc.integer({ min: 0, max: 300 }),
      fc.boolean(),
      (size, more, addBos) => {
        const ids = Array.from({ length: 2 * size + more }, (_, i) => i + 9);
        const tokenizer = { encode: () => ids, addBos, bos: 1 };
        const chunks = textChunks(tokenizer, "", size);
        assert.equal(chunks.length, Math.floor(ids.length / size));
        chunks.forEach((chunk, i) => {
          const own = ids.slice(i * size, (i + 1) * size);
          assert.deepEqual([...chunk], addBos ? [1, ...own.slice(1)] : own);
        });
      },
    ),
  );
});

Deno.test("a text that is too short is refused with both numbers", () => {
  const tokenizer = { encode: () => Array(15).fill(7), addBos: false };
  assert.equal(textChunks(tokenizer, "", 7).length, 2);
  assert.throws(() => textChunks(tokenizer, "", 8), {
    name: "UsageError",
    message: /context of 8: the text needs 16 tokens, and has 15/,
  });
  assert.throws(() => textChunks(tokenizer, "", 3), UsageError);
});

Deno.test("an estimate is exp of the mean, with the error that the spread of tokens gives it", () => {
  const losses = [0.5, 1.5, 2, 4];
  const scoreOf = (some: number[]): TextScore => ({
    tokens: some.length,
    nll: some.reduce((a, b) => a + b, 0),
    squares: some.reduce((a, b) => a + b * b, 0),
    differences: 0,
  });
  const parts = [scoreOf(losses.slice(0, 1)), scoreOf(losses.slice(1))];
  const { perplexity, error } = estimatePerplexity(parts);
  assert.ok(Math.abs(perplexity - Math.exp(2)) < 1e-12);
  const variance = (1.5 ** 2 + 0.5 ** 2 + 0 + 2 ** 2) / 4;
  assert.ok(Math.abs(error - Math.exp(2) * Math.sqrt(variance / 3)) < 1e-12);
});

Deno.test("the error of a change is that of the differences of each token", () => {
  const base = [0.5, 1.5, 2, 4], few = [0.6, 1.5, 2.3, 4];
  const scores = (losses: readonly number[]) =>
    [[0, 1], [1, 4]].map(([first, end]) =>
      scoreOf(losses.slice(first, end), base.slice(first, end))
    );
  const { change, changeError } = comparePerplexity(scores(few), scores(base));
  // The differences are 0.1, 0, 0.3 and 0: their mean is 0.1, the squares of what is around it 0, 0.01, 0.04 and 0.01.
  const error = Math.sqrt(0.06 / 4 / 3);
  assert.ok(Math.abs(change - (Math.exp(0.1) - 1)) < 1e-12);
  assert.ok(Math.abs(changeError - Math.exp(0.1) * error) < 1e-12);
  assert.ok(changeError < estimatePerplexity(scores(few)).error / 10);
  assert.deepEqual(comparePerplexity(scores(base), scores(base)), {
    change: 0,
    changeError: 0,
  });
});

Deno.test("differences are those from the score with the most neurons, wherever it stands", async () => {
  await using model = await tiny({ mode: "top-k", share: 1 });
  const rows = await score(model, 40, { keep: [0.01, 1, 0.1] });
  const [other] = await score(model, 40, { keep: [0.1, 1], skip: 0 });
  for (const [few, all, some] of rows) {
    assert.equal(all.differences, 0);
    assert.ok(few.differences > some.differences && some.differences > 0);
    // No less than what the mean of the differences alone gives.
    assert.ok(few.differences >= (few.nll - all.nll) ** 2 / few.tokens);
  }
  const [first] = rows;
  assert.ok(Math.abs(other[0].differences / first[2].differences - 1) < 1e-3);
});

Deno.test("the second half of each chunk is scored, each token after those before it", async () => {
  await using model = await tiny({ mode: "exact" });
  const [chunk] = textChunks(model.tokenizer, story, 33);
  using sequence = model.engine.createSequence();
  const rows = await model.engine.evaluate(sequence, chunk, "all");
  const losses = Array.from(
    chunk.slice(17),
    (id, i) => -logSoftmaxAt(rows[16 + i], id),
  );
  const [[{ tokens, nll }]] = await score(model, 33);
  assert.equal(tokens, losses.length);
  assert.ok(Math.abs(nll - losses.reduce((a, b) => a + b)) < 1e-3);
});

Deno.test("keeping all neurons gives dense's scores to the last digit", async () => {
  for (const threads of [0, 2]) {
    await using topK = await tiny({ mode: "top-k", share: 0.1 }, threads);
    await using dense = await tiny({ mode: "dense" }, threads);
    const kept = await score(topK, 32, { keep: [1] });
    assert.deepEqual(kept, await score(dense, 32));
  }
});

Deno.test("shares scored together are as each alone, whatever share was loaded", async () => {
  await using together = await tiny({ mode: "top-k", share: 0.5 });
  const keep = [1, 0.1, 0.003];
  const rows = await score(together, 40, { keep });
  for (const [i, share] of keep.entries()) {
    await using alone = await tiny({ mode: "top-k", share });
    const scores = await score(alone, 40);
    scores.forEach(([{ nll }], chunk) => {
      assert.ok(Math.abs(rows[chunk][i].nll - nll) < 1e-3 * nll, `${share}`);
    });
  }
  const total = keep.map((_, i) => rows.reduce((sum, r) => sum + r[i].nll, 0));
  assert.ok(total[2] > 1.1 * total[0], "four neurons of a layer are too few");
});

Deno.test("work that is taken up again goes on with the same scores", async () => {
  await using model = await tiny({ mode: "exact" });
  const all = await score(model, 64);
  assert.ok(all.length > 3);
  assert.deepEqual(await score(model, 64, { skip: 2 }), all.slice(2));
  assert.deepEqual(await score(model, 64, { skip: all.length }), []);
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("a share to keep is refused out of range, and in other modes", async () => {
  await using topK = await tiny({ mode: "top-k", share: 0.5 });
  for (const keep of [0, -1, 1.5, NaN]) {
    assert.throws(() => topK.engine.createSequence({ keep }), {
      name: "UsageError",
      message: new RegExp(`keep ${keep}: it is a number above 0, at most 1`),
    });
  }
  await using exact = await tiny({ mode: "exact" });
  assert.throws(() => exact.engine.createSequence({ keep: 0.5 }), {
    name: "UsageError",
    message: /in sparsity exact: load the model with top-k/,
  });
});

Deno.test("a fork keeps its origin's share", async () => {
  await using model = await tiny({ mode: "top-k", share: 1 });
  const ids = model.tokenize(story).slice(0, 20);
  using few = model.engine.createSequence({ keep: 0.02 });
  using all = model.engine.createSequence();
  await model.engine.evaluate(few, ids.slice(0, 10), "none");
  await model.engine.evaluate(all, ids.slice(0, 10), "none");
  using fork = few.fork();
  const rest = ids.slice(10);
  const [[a], [b], [c]] = await Promise.all(
    [few, fork, all].map((each) => model.engine.evaluate(each, rest)),
  );
  assert.deepEqual(a, b);
  assert.notDeepEqual(a, c);
});

/** What NumPy says of the chunks of a text. */
interface Scores {
  readonly size: number;
  readonly shares: readonly number[];
  /** By share and chunk, in nats */
  readonly nll: readonly (readonly number[])[];
}

/** Scores the first chunks of a text as NumPy did. */
async function assertScores(
  source: Parameters<typeof load>[0],
  text: string,
  { size, shares, nll }: Scores,
): Promise<TextScore[][]> {
  await using model = await load(source, {
    threads: 2,
    sparsity: { mode: "top-k", share: 1 },
    cacheType: "f32" satisfies CacheType,
  });
  const chunks = textChunks(model.tokenizer, text, size).slice(
    0,
    nll[0].length,
  );
  const rows = await Array.fromAsync(
    scoreChunks(model.engine, chunks, { keep: shares }),
  );
  shares.forEach((share, i) =>
    nll[i].forEach((expected, chunk) => {
      const actual = rows[chunk][i].nll;
      assert.ok(
        Math.abs(actual - expected) < 0.05,
        `share ${share}, chunk ${chunk}: ${actual}, not ${expected}`,
      );
    })
  );
  return rows;
}

Deno.test("each chunk's score at each share is NumPy's", async () => {
  const { perplexity } = golden["tiny-bamboo-q8_0"];
  await assertScores(await embeddedAsF32(), wholeStory(), perplexity);
});

const f16 = "tiny-bamboo/gguf/tiny-bamboo-f16.gguf";
if (hasShared(f16) && hasShared("data/text")) {
  for (const text of ["wikitext2", "stories"] as const) {
    Deno.test(`the full-size file on ${text}: each chunk's score at each share is NumPy's`, async () => {
      const whole = text === "stories"
        ? (await lastStories(64)).join("\n")
        : await Deno.readTextFile(dataUrl("text/wikitext2-test.raw"));
      const { size, shares, tokens } = fullSize;
      const { characters, nll } = fullSize[text];
      const rows = await assertScores(
        sharedUrl(f16),
        [...whole].slice(0, characters).join(""),
        { size, shares, nll },
      );
      assert.equal(rows.reduce((sum, [{ tokens }]) => sum + tokens, 0), tokens);
      const totals = shares.map((_, i) =>
        rows.reduce((sum, scores) => sum + scores[i].nll, 0)
      );
      if (text === "wikitext2") {
        const inOrder = totals.toSorted((a, b) => a - b);
        assert.deepEqual(totals, inOrder, "fewer neurons predict worse");
      }
    });
  }

  Deno.test("the loss of a token of unseen stories is stats.json's, as near as few stories tell", async () => {
    const stats: { validation_loss: number } = JSON.parse(
      await Deno.readTextFile(fixtureUrl("tiny-bamboo/stats.json")),
    );
    await using model = await load(sharedUrl(f16), { threads: 2 });
    let nll = 0, tokens = 0;
    for (const text of await lastStories(60)) {
      const ids = model.tokenize(text).slice(0, 384);
      using sequence = model.engine.createSequence();
      const rows = await model.engine.evaluate(
        sequence,
        ids.slice(0, -1),
        "all",
      );
      rows.forEach((row, i) => nll -= logSoftmaxAt(row, ids[i + 1]));
      tokens += rows.length;
    }
    const loss = nll / tokens;
    assert.ok(
      Math.abs(loss / stats.validation_loss - 1) < 0.05,
      `${loss}, not ${stats.validation_loss}`,
    );
  });
}
