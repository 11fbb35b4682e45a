/** With drafts a text is the same as without, whatever chooses or ends it. */
import assert from "node:assert/strict";
import {
  type GenerateOptions,
  type LanguageModel,
  load,
  type LoadOptions,
  type Piece,
  type Session,
  type Summary,
} from "../../mod.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { Session as EngineSession } from "../../src/generate/session.ts";
import {
  Speculation,
  speculationOptions,
} from "../../src/generate/speculation.ts";
import { valuesOf } from "../../src/options.ts";
import { makeSampler } from "../../src/sampling/sampler.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";

const prompt =
  "Lily had a red ball. Tom had a blue ball. Lily said: my ball is red. Tom said: my";

/** Lets steps of any length seem to cost the same: whatever may be right is drafted. */
function draftEagerly(engine: Engine): void {
  const value = { ms: () => 1, sequences: 1 };
  Object.defineProperty(engine, "stepCosts", { value });
}

async function open(options: LoadOptions = {}): Promise<LanguageModel> {
  const model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 128,
    ...options,
  });
  draftEagerly(model.engine);
  return model;
}

interface Written {
  readonly pieces: readonly Piece[];
  readonly ended: unknown;
  /** What the session holds then */
  readonly ids: readonly number[];
  readonly drafted: number;
  readonly accepted: number;
}

/** Writes a text, and stops to listen after `most` pieces. */
async function write(
  model: LanguageModel,
  options: GenerateOptions,
  { session: given, from = prompt, most = Infinity }: {
    session?: Session;
    from?: string | number[];
    most?: number;
  } = {},
): Promise<Written> {
  const session = given ?? model.createSession();
  let summary!: Summary;
  const pieces: Piece[] = [];
  const stream = model.generate(from, {
    seed: 1,
    ...options,
    session,
    onFinish: (result) => summary = result,
  });
  for await (const piece of stream) if (pieces.push(piece) >= most) break;
  const { finishReason, stopString, completionTokens } = summary;
  const { draftedTokens: drafted, acceptedTokens: accepted } = summary;
  const ids = [...session.ids];
  if (!given) session[Symbol.dispose]();
  const ended = { finishReason, stopString, completionTokens };
  return { pieces, ended, ids, drafted, accepted };
}

const without: GenerateOptions = { speculation: "none" };

const drafters: readonly GenerateOptions[] = [
  { ngramSize: 1 },
  { ngramSize: 3, draftMax: 3 },
  { speculation: "ngram-mod" },
  { speculation: "ngram-mod", ngramSize: 2, draftMax: 20 },
];

const choices: Record<string, GenerateOptions> = {
  "greedy": { temperature: 0 },
  "default": {},
  "hot": { temperature: 1.5, topK: 0 },
  "top-k with logprobs": { topK: 5, logprobs: 3 },
  "penalties": { temperature: 0, repeatPenalty: 1.1, presencePenalty: 0.2 },
  "frequency penalty, all tokens": {
    frequencyPenalty: 0.3,
    repeatLastN: -1,
    logprobs: 2,
  },
  "dry": { temperature: 0, dryMultiplier: 0.5 },
  "xtc": { xtcProbability: 0.4, xtcThreshold: 0.05, temperature: 0.7 },
  "typical, min-p": { typicalP: 0.8, minP: 0.02 },
  "biased": { logitBias: { 300: 2, 301: -2 }, temperature: 0.5 },
  "no end": { ignoreEos: true, temperature: 0.5, maxTokens: -1 },
  "a stop string": { temperature: 0, stop: ["blue", "red b", "ball is"] },
  "all that fits": { temperature: 0, maxTokens: -1 },
  "9 tokens": { temperature: 0, maxTokens: 9 },
  "1 token": { maxTokens: 1 },
  "none": { maxTokens: 0 },
};

Deno.test("pieces, end and session are the same with drafts, whatever the samplers and the seed", async () => {
  await using model = await open();
  let drafted = 0, accepted = 0;
  for (const [name, choice] of Object.entries(choices)) {
    for (const seed of [1, 2]) {
      const options = { maxTokens: 40, seed, ...choice };
      const plain = await write(model, { ...options, ...without });
      for (const ways of drafters) {
        const result = await write(model, { ...options, ...ways });
        const label = `${name}, seed ${seed}, ${JSON.stringify(ways)}`;
        assert.deepEqual(result.pieces, plain.pieces, label);
        assert.deepEqual(result.ended, plain.ended, label);
        assert.deepEqual(result.ids, plain.ids, label);
        assert.equal(plain.drafted, 0);
        drafted += result.drafted;
        accepted += result.accepted;
      }
    }
  }
  assert(accepted > 100 && drafted - accepted > 100, `${accepted} ${drafted}`);
  assert.equal(model.engine.pagesTaken, 0);
});

type DrafterName = NonNullable<GenerateOptions["speculation"]>;

const shapes: readonly (RandomModelOptions & LoadOptions)[] = [
  { type: "Q4_0", vocabSize: 16, seed: 4, threads: 2 },
  { type: "Q8_0", vocabSize: 24, seed: 5, cacheType: "q8_0", batchSize: 4 },
  { type: "F16", vocabSize: 16, slidingWindow: 7, headSize: 14, seed: 6 },
  { architecture: "gemma3", vocabSize: 16, slidingWindow: 9, seed: 7 },
  {
    vocabSize: 16,
    seed: 8,
    downByNeuron: true,
    sparsity: { mode: "top-k", share: 0.3 },
  },
];

for (
  const {
    type,
    vocabSize,
    slidingWindow,
    headSize,
    seed,
    architecture,
    downByNeuron,
    ...loading
  } of shapes
) {
  const shape = {
    type,
    vocabSize,
    slidingWindow,
    headSize,
    seed,
    architecture,
    downByNeuron,
  };
  Deno.test(`random models draw the same ids with drafts: ${JSON.stringify({ ...shape, ...loading })}`, async () => {
    const given = Object.entries(shape).filter(([, value]) =>
      value !== undefined
    );
    const { bytes } = await randomModel(Object.fromEntries(given));
    await using model = await load(bytes, {
      threads: 0,
      gpu: "off",
      ...loading,
    });
    const { engine } = model;
    draftEagerly(engine);
    const start = [3, 1, 4, 1, 5, 9, 2, 6, 3, 1, 4];
    const end = 100;
    let accepted = 0, rejected = 0;
    const draw = async (temperature: number, speculation?: DrafterName) => {
      using session = new EngineSession(engine);
      const sampler = makeSampler(
        { temperature, seed: 3, topK: 8 },
        vocabSize!,
      );
      const ask = { top: sampler.top };
      let logits = await session.append(start, ask);
      const options = valuesOf(speculationOptions, { speculation });
      using drafts = new Speculation(engine, session, options, end);
      for (;;) {
        const { id } = sampler.sample(logits, session.ids);
        if (session.ids.length + 1 === end) break;
        logits = speculation
          ? await drafts.next(id, ask)
          : await session.append([id], ask);
      }
      accepted += drafts.accepted;
      rejected += drafts.drafted - drafts.accepted;
      session.forgetDraft();
      return [...session.ids];
    };
    for (const temperature of [0, 0.3, 1]) {
      const ids = await draw(temperature);
      assert.equal(ids.length, end - 1);
      for (const drafter of ["ngram-simple", "ngram-mod"] as const) {
        assert.deepEqual(await draw(temperature, drafter), ids);
      }
    }
    assert(accepted > 20 && rejected > 20, `${accepted} ${rejected}`);
    assert.equal(engine.pagesTaken, 0);
  });
}

Deno.test("texts of a model profit from one another's n-grams where that is asked for, and stay the same", async () => {
  await using model = await open();
  const from = "Tom had a big dog.";
  const options: GenerateOptions = { temperature: 0, maxTokens: 60 };
  const plain = await write(model, { ...options, ...without }, { from });
  const accepted = async (speculation: DrafterName) => {
    const all = { ...options, speculation };
    const result = await write(model, all, { from });
    assert.deepEqual(result.pieces, plain.pieces);
    return result.accepted;
  };
  const alone = await accepted("ngram-simple");
  assert.equal(await accepted("ngram-mod"), alone);
  assert.equal(await accepted("ngram-simple"), alone);
  assert(await accepted("ngram-mod") > alone + 20, "its own text came before");
  // Of another model's texts it knows nothing.
  await using other = await open();
  const { accepted: first } = await write(other, {
    ...options,
    speculation: "ngram-mod",
  }, { from });
  assert.equal(first, alone);
});

Deno.test("whoever stops to listen leaves the session as without drafts, and texts go on in it", async () => {
  await using model = await open();
  const options = { temperature: 0, maxTokens: 30, ngramSize: 1 };
  const whole = await write(model, { ...options, ...without });
  for (const most of [1, 2, 3, 5, 8, 13, 21]) {
    using session = model.createSession();
    const plain = await write(model, { ...options, ...without }, { most });
    const result = await write(model, options, { most, session });
    assert.deepEqual(result.pieces, plain.pieces);
    assert.deepEqual(result.ids, plain.ids);
    const again = await write(model, options, { session });
    assert.deepEqual(again.pieces, whole.pieces);
  }
});

Deno.test("aborted at any time, a text is a beginning of the whole, and its session goes on", async () => {
  await using model = await open();
  const options = { temperature: 0, maxTokens: 30, ngramSize: 1 };
  const whole = await write(model, { ...options, ...without });
  for (let count = 1; count < 24; count += 2) {
    using session = model.createSession();
    const controller = new AbortController();
    let left = count;
    const { pieces, ended, ids } = await write(model, {
      ...options,
      signal: controller.signal,
      onToken: () => --left === 0 && controller.abort(),
    }, { session });
    assert.equal((ended as Summary).finishReason, "aborted");
    assert.deepEqual(pieces, whole.pieces.slice(0, pieces.length));
    assert(pieces.length <= count + 1);
    assert.deepEqual(ids, whole.ids.slice(0, ids.length));
    assert.deepEqual(
      (await write(model, options, { session })).pieces,
      whole.pieces,
    );
  }
});

Deno.test("a step that fails leaves the session what was drawn before", async () => {
  await using model = await open();
  const options = { temperature: 0, maxTokens: 30, ngramSize: 1 };
  const whole = await write(model, { ...options, ...without });
  const { engine } = model;
  const evaluate = engine.evaluateTops;
  for (const fault of [2, 4, 6]) {
    let left = fault;
    engine.evaluateTops = function (...asked) {
      if (--left === 0) throw new Error("a fault of the test");
      return evaluate.apply(this, asked);
    };
    using session = model.createSession();
    await assert.rejects(write(model, options, { session }), /a fault/);
    engine.evaluateTops = evaluate;
    assert.deepEqual(session.ids, whole.ids.slice(0, session.ids.length));
    const again = await write(model, options, { session });
    assert.deepEqual(again.pieces, whole.pieces);
  }
});

Deno.test("texts that are written at once, in no more pages than they need, are what each is alone", async () => {
  await using model = await open();
  const { engine } = model;
  // As where all others are taken: drafts take none but those that the text has.
  Object.defineProperty(engine, "pagesTaken", { get: () => engine.pagesHeld });
  const froms = [prompt, "Tom had a big dog. Tom had a big"];
  const options = {
    temperature: 0,
    maxTokens: -1,
    ignoreEos: true,
    ngramSize: 1,
  };
  const alone: Written[] = [];
  for (const from of froms) {
    alone.push(await write(model, { ...options, ...without }, { from }));
  }
  for (const speculation of ["ngram-simple", "ngram-mod"] as const) {
    const together = await Promise.all(
      froms.map((from) => write(model, { ...options, speculation }, { from })),
    );
    together.forEach(({ pieces, accepted }, i) => {
      assert.deepEqual(pieces, alone[i].pieces);
      assert(accepted > 10, `${accepted}`);
    });
  }
  assert.equal(engine.pagesHeld, 8, "2 texts of 128 positions, 32 a page");
});

Deno.test("a profile that is counted has the text's neurons alone, unless drafts are asked for", async () => {
  await using plain = await open({ countNeurons: true });
  await using asked = await open({ countNeurons: true });
  const options = { maxTokens: 40, temperature: 0, ngramSize: 1 };
  const { ids, drafted } = await write(plain, options);
  assert.equal(drafted, 0);
  assert.equal(plain.engine.profile().tokens, ids.length);
  const { drafted: more } = await write(asked, {
    ...options,
    speculation: "ngram-simple",
  });
  assert(more > 0);
});
