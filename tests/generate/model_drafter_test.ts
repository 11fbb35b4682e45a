/** With a model that drafts a text is the same as without, however good that is. */
import assert from "node:assert/strict";
import {
  type GenerateOptions,
  type LanguageModel,
  load,
  type LoadOptions,
  type Summary,
  UsageError,
} from "../../mod.ts";
import { synthesise, synthShapes } from "../../lab.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const prompt = "Lily had a red ball. Tom had a blue";

/** Lets a step of so many tokens seem to take so many ms. */
function pretend(engine: Engine, ms: (tokens: number) => number): void {
  const value = { ms, sequences: 1 };
  Object.defineProperty(engine, "stepCosts", { value });
}

const open = (options: LoadOptions = {}) =>
  load(tinyBamboo(), { threads: 0, gpu: "off", contextSize: 128, ...options });

/** A model whose steps cost the same whatever their length. */
async function openModel(options: LoadOptions = {}): Promise<LanguageModel> {
  const model = await open(options);
  pretend(model.engine, () => 1);
  return model;
}

/** A draft model that costs next to nothing. */
async function openDraft(options: LoadOptions = {}): Promise<LanguageModel> {
  const model = await open(options);
  pretend(model.engine, () => 0.01);
  return model;
}

async function write(model: LanguageModel, options: GenerateOptions) {
  let summary!: Summary;
  const pieces = [];
  const stream = model.generate(prompt, {
    seed: 1,
    ...options,
    onFinish: (result) => summary = result,
  });
  for await (const piece of stream) pieces.push(piece);
  return { pieces, summary };
}

const without: GenerateOptions = { speculation: "none" };

/** Without its FFN, tiny-bamboo is a poor model. */
const poor: LoadOptions = { sparsity: { mode: "threshold", value: 1e9 } };

const choices: readonly GenerateOptions[] = [
  { temperature: 0 },
  {},
  { temperature: 1.5, topK: 0 },
  { temperature: 0, repeatPenalty: 1.2, presencePenalty: 0.3, logprobs: 2 },
  { temperature: 0, stop: ["ball", "dog"] },
  { temperature: 0.5, ignoreEos: true, maxTokens: -1 },
  { temperature: 0, maxTokens: 2, draftMin: 3 },
];

Deno.test("pieces and end are the same with an equal draft model, and with a poor one", async () => {
  await using model = await openModel();
  await using equal = await openDraft();
  await using bad = await openDraft(poor);
  const shares: number[] = [];
  for (const draftModel of [equal, bad]) {
    let drafted = 0, accepted = 0;
    for (const choice of choices) {
      const options = { maxTokens: 50, ...choice };
      const plain = await write(model, { ...options, ...without });
      const result = await write(model, { ...options, draftModel });
      assert.deepEqual(result.pieces, plain.pieces);
      assert.equal(result.summary.finishReason, plain.summary.finishReason);
      assert.equal(result.summary.stopString, plain.summary.stopString);
      drafted += result.summary.draftedTokens;
      accepted += result.summary.acceptedTokens;
    }
    shares.push(accepted / drafted);
    assert(drafted > 30, `${drafted}`);
    assert.equal(draftModel.engine.pagesTaken, 0);
  }
  const [best, worst] = shares;
  assert(best > 0.4 && worst < best / 2, `${shares}`);
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("greedy, an equal model is right each time", async () => {
  await using model = await openModel();
  await using draftModel = await openDraft();
  const { summary } = await write(model, {
    temperature: 0,
    maxTokens: 60,
    ignoreEos: true,
    draftModel,
    draftMax: 5,
  });
  const { draftedTokens, acceptedTokens } = summary;
  assert.equal(acceptedTokens, draftedTokens);
  assert(acceptedTokens >= 40, `${acceptedTokens}`);
});

Deno.test("where the draft model's context or pages end, the text goes on without", async () => {
  await using model = await openModel();
  const options = { temperature: 0, maxTokens: -1, ignoreEos: true };
  const plain = await write(model, { ...options, ...without });
  for (const loading of [{ contextSize: 48 }, { cacheSize: 32 }]) {
    await using draftModel = await openDraft(loading);
    const { pieces, summary } = await write(model, { ...options, draftModel });
    assert.deepEqual(pieces, plain.pieces);
    const { draftedTokens } = summary;
    assert(draftedTokens > 5 && draftedTokens < 50, `${draftedTokens}`);
    assert.equal(draftModel.engine.pagesTaken, 0);
  }
});

Deno.test("where the draft model is closed meanwhile, the text goes on without", async () => {
  await using model = await openModel();
  await using draftModel = await openDraft();
  const options = { temperature: 0, maxTokens: 40, ignoreEos: true };
  const plain = await write(model, { ...options, ...without });
  let left = 10;
  const { pieces, summary } = await write(model, {
    ...options,
    draftModel,
    onToken: () => --left === 0 && void draftModel[Symbol.asyncDispose](),
  });
  assert.deepEqual(pieces, plain.pieces);
  assert(summary.draftedTokens > 0 && summary.draftedTokens < 25);
});

Deno.test("aborted while the draft model computes, a text is a beginning of the whole", async () => {
  await using model = await openModel();
  await using draftModel = await openDraft();
  const options = { temperature: 0, maxTokens: 30, ignoreEos: true };
  const whole = await write(model, { ...options, ...without });
  const evaluate = draftModel.engine.evaluateTops;
  for (const fault of [1, 2, 6]) {
    const controller = new AbortController();
    let left = fault;
    draftModel.engine.evaluateTops = function (...asked) {
      if (--left === 0) controller.abort();
      return evaluate.apply(this, asked);
    };
    const { pieces, summary } = await write(model, {
      ...options,
      draftModel,
      signal: controller.signal,
    });
    assert.equal(summary.finishReason, "aborted");
    assert.deepEqual(pieces, whole.pieces.slice(0, pieces.length));
    assert(pieces.length < whole.pieces.length);
  }
  assert.equal(draftModel.engine.pagesTaken, 0);
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("what is no fault of culm's is not hidden", async () => {
  await using model = await openModel();
  await using draftModel = await openDraft();
  draftModel.engine.evaluateTops = () => {
    throw new TypeError("a fault of the test");
  };
  await assert.rejects(write(model, { draftModel }), /a fault of the test/);
});

Deno.test("texts that are written at once share a draft model", async () => {
  await using model = await openModel();
  await using draftModel = await openDraft();
  const seeds = [1, 2, 3];
  const plain = [];
  for (const seed of seeds) {
    plain.push(
      (await write(model, { seed, maxTokens: 30, ...without })).pieces,
    );
  }
  const together = await Promise.all(
    seeds.map((seed) => write(model, { seed, maxTokens: 30, draftModel })),
  );
  assert.deepEqual(together.map(({ pieces }) => pieces), plain);
});

Deno.test("a draft model that costs more than it spares rests", async () => {
  await using model = await openModel();
  await using draftModel = await open();
  // A prompt's tokens cost the draft model a tenth each.
  pretend(draftModel.engine, (tokens) => Math.max(5, tokens / 10));
  const { summary } = await write(model, {
    temperature: 0,
    maxTokens: -1,
    ignoreEos: true,
    draftModel,
  });
  assert.equal(summary.draftedTokens, 0);
  assert.equal(draftModel.engine.stats().tokens, 0);
});

Deno.test("where it may pay again, it is tried again", async () => {
  await using model = await openModel();
  await using draftModel = await open();
  let ms = 5;
  pretend(draftModel.engine, (tokens) => tokens === 1 ? ms : 0);
  let left = 20;
  const { summary } = await write(model, {
    temperature: 0,
    maxTokens: -1,
    ignoreEos: true,
    draftModel,
    onToken: () => --left === 0 && (ms = 0.01),
  });
  assert(summary.acceptedTokens > 20, `${summary.acceptedTokens}`);
});

function synthetic(vocabSize: number) {
  return synthesise({
    shape: { ...synthShapes.tiny, layerCount: 1, vocabSize },
    type: "Q4_0",
    form: "powerinfer",
    activation: "drelu",
    gatePositive: 0.39,
    active: 0.15,
    seed: 1,
  });
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>) {
  const parts = await Array.fromAsync(chunks, (chunk) => chunk.slice());
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

Deno.test("models that cannot draft are refused by name", async () => {
  await using model = await open();
  const isRefused = (options: GenerateOptions, message: RegExp) =>
    assert.rejects(write(model, options), (error) => {
      assert(error instanceof UsageError, String(error));
      assert.match(error.message, message);
      return true;
    });
  await isRefused({ draftModel: model }, /with the model itself/);
  await isRefused(
    { speculation: "draft-simple" },
    /draft-simple without a draft model/,
  );
  await isRefused(
    { draftModel: {} as LanguageModel },
    /draftModel an object: it is a model/,
  );
  const { vocabSize } = model.tokenizer;
  await using fewer = await load(await bytesOf(synthetic(1024).chunks), {
    threads: 0,
  });
  await isRefused(
    { draftModel: fewer },
    new RegExp(`a model of 1024 tokens for one of ${vocabSize}`),
  );
  await using other = await load(await bytesOf(synthetic(vocabSize).chunks), {
    threads: 0,
  });
  await isRefused(
    { draftModel: other },
    /whose token \d+ is ".*", where the other's is ".*": both need/,
  );
});
