/** What JavaScript callers get wrong: each is refused by name, with what it may be and the nearest name that there is. */
import assert from "node:assert/strict";
import {
  type ChatTurn,
  type GenerateOptions,
  load,
  type LoadOptions,
  type ModelSource,
  UsageError,
} from "../../mod.ts";
import { convert } from "../../convert.ts";
import { fromUrl } from "../../gguf.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const model = await load(tinyBamboo(), { threads: 0 });

/** What a caller without types may pass. */
const any = <Value>(value: unknown) => value as Value;

async function isRefused(run: () => Promise<unknown>, message: RegExp) {
  await assert.rejects(run, (error) => {
    assert(error instanceof UsageError, String(error));
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n|undefined is not/);
    return true;
  });
}

const modes = "one of dense, exact, predictor, top-k, threshold";

Deno.test("load names what it does not know", async () => {
  const wrong: [unknown, RegExp][] = [
    [{ thread: 1 }, /thread: load has nothing .* did you mean threads\?/],
    [{ contextLength: 64 }, /contextLength: .* did you mean contextSize\?/],
    [{ constructor: 1 }, /constructor: load has nothing of that name$/],
    [
      { sparsity: "predictor" },
      new RegExp(`"predictor": it is an object.*${modes}`),
    ],
    [
      { sparsity: { mode: "bogus" } },
      new RegExp(`sparsity.mode "bogus".*${modes}`),
    ],
    [
      { sparsity: { mode: "top-k", keep: 1 } },
      /sparsity\.keep: .* did you mean share\?/,
    ],
    [{ sparsity: { mode: "top-k" } }, /sparsity: share is missing/],
    [
      { sparsity: { mode: "dense", share: 1 } },
      /sparsity\.share: sparsity has nothing/,
    ],
    [{ gpu: "yes" }, /gpu "yes": it is one of off, auto, require/],
    [{ activation: "constructor" }, /activation "constructor": it is one of/],
    [{ threads: "2" }, /threads "2": it is a whole number from 0 up/],
    [{ hotShare: NaN }, /hotShare NaN: it is a number from 0 to 1/],
    [{ prefixCache: "no" }, /prefixCache "no": it is true or false/],
    [{ profile: true }, /profile true: it is a profile/],
    [{ gpuIndex: "a.gpuidx" }, /gpuIndex "a.gpuidx": it is an index/],
    [{ gpu: "require", gpuLayers: 0 }, /require a GPU that takes 0 layers/],
    [{ gpuPlan: {} }, /gpuPlan an object: it is the plan of a place/],
    [{ predictor: 3 }, /predictor 3: it is a path/],
    [{ signal: {} }, /signal an object: it is an AbortSignal/],
    [{ onProgress: true }, /onProgress true: it is a function/],
    [null, /null as options of load/],
    [4, /4 as options of load/],
  ];
  for (const [options, message] of wrong) {
    await isRefused(
      () => load(tinyBamboo(), any<LoadOptions>(options)),
      message,
    );
  }
  for (const source of [null, undefined, 3, {}, []]) {
    await isRefused(
      () => load(any<ModelSource>(source)),
      /Cannot use source .*: it is a path, a URL, a Blob/,
    );
  }
});

Deno.test("generate and complete name what they do not know", async () => {
  for (const prompt of [3, {}, undefined, null]) {
    await isRefused(
      () => model.complete(any<string>(prompt), { maxTokens: 1 }),
      /Cannot use prompt .*: it is a text or a list of token ids/,
    );
  }
  const wrong: [unknown, RegExp][] = [
    [{ maxToken: 1 }, /maxToken: generate has nothing .* mean maxTokens\?/],
    [{ template: "" }, /template: generate has nothing/],
    [{ stop: 3 }, /stop 3: it is a text or a list of texts/],
    [{ stop: ["a", ""] }, /stop a list: it is a text that is not empty/],
    [{ stop: "" }, /it is a text that is not empty/],
    [{ session: {} }, /session an object: it is what createSession gives/],
    [{ logprobs: 0.5 }, /logprobs 0.5: it is a whole number from 0 up/],
    [{ samplers: "top_k" }, /samplers "top_k": it is a list of penalties/],
    [{ logitBias: 3 }, /logitBias 3: it is an object, or a Map/],
    [{ dryBreakers: 3 }, /dryBreakers 3: it is a list of token ids/],
    [{ draftMin: 3, draftMax: 2 }, /draft at least 3 tokens and at most 2/],
    [{ draftMin: 8 }, /draft at least 8 tokens and at most 7/],
    [null, /null as options of generate/],
  ];
  for (const [options, message] of wrong) {
    await isRefused(
      () => model.complete("a", any<GenerateOptions>(options)),
      message,
    );
  }
});

Deno.test("a draft that no step holds is refused", async () => {
  await using small = await load(tinyBamboo(), { threads: 0, batchSize: 4 });
  const write = (draftMin: number) =>
    small.complete("a", { draftMin, maxTokens: 1 });
  await isRefused(
    () => write(4),
    /at least 4 tokens: a step takes 4, the next/,
  );
  await write(3);
});

Deno.test("chat names what it does not know", async () => {
  const wrong: [unknown, RegExp][] = [
    ["hi", /messages "hi": it is a list of objects/],
    [undefined, /messages null: it is a list/],
    [[{}], /messages\.0: role is missing/],
    [["hi"], /messages\.0 "hi": it is an object/],
    [[{ role: "user", content: 5 }], /messages\.0\.content 5: it is a text/],
    [
      [{ role: "user", content: [{ type: "image_url", image_url: "x" }] }],
      /messages\.0\.content\.0\.type "image_url": it is text/,
    ],
    [
      [{ role: "user", content: [{ type: "text" }] }],
      /messages\.0\.content\.0: text is missing/,
    ],
  ];
  for (const [messages, message] of wrong) {
    await isRefused(
      () => model.chat(any<ChatTurn[]>(messages)).next(),
      message,
    );
  }
  await isRefused(
    () => model.chat([], any({ temlate: "" })).next(),
    /temlate: chat has nothing .* did you mean template\?/,
  );
});

Deno.test("a stop may be one text", async () => {
  const asked = { seed: 1, temperature: 0, maxTokens: 60 };
  const whole = await model.complete("Once upon a time", asked);
  const stop = whole.slice(20, 26);
  const expected = whole.slice(0, whole.indexOf(stop));
  for (const given of [stop, [stop]]) {
    const text = await model.complete("Once upon a time", {
      ...asked,
      stop: given,
    });
    assert.equal(text, expected);
  }
});

Deno.test("complete gives the text of all pieces, and an abort is an error", async () => {
  const asked = { seed: 1, maxTokens: 30 };
  let text = "";
  for await (const piece of model.generate("Tom had a", asked)) {
    text += piece.text;
  }
  assert.equal(await model.complete("Tom had a", asked), text);
  const reason = new Error("enough");
  const signal = AbortSignal.abort(reason);
  await assert.rejects(model.complete("Tom", { ...asked, signal }), reason);
});

Deno.test("parts of a turn are its text, a line each", async () => {
  const prompt = async (content: ChatTurn["content"]) => {
    let tokens = 0;
    const stream = model.chat([{ role: "user", content }], {
      template: "{{ messages[0].content }}",
      maxTokens: 0,
      onFinish: ({ promptTokens }) => tokens = promptTokens,
    });
    for await (const _ of stream);
    return tokens;
  };
  const text = (text: string) => ({ type: "text", text }) as const;
  assert.equal(
    await prompt([text("Lily went"), text("home.")]),
    model.tokenize("Lily went\nhome.").length,
  );
  assert.equal(await prompt([text("Hello")]), await prompt("Hello"));
});

Deno.test("sequences, tokenize and convert name what they do not know", async () => {
  const { engine } = model;
  const wrong: [() => unknown, RegExp][] = [
    [() => engine.createSequence(any({ kep: 0.5 })), /kep: .* mean keep\?/],
    [
      () => engine.createSequence({ keep: 2 }),
      /keep 2: it is a number above 0/,
    ],
    [() => model.tokenize(any(3)), /text 3: it is a text/],
    [() => model.tokenize(any(undefined)), /text null: it is a text/],
    [
      () => model.tokenize("a", any({ parseSpecials: true })),
      /parseSpecials: .* mean parseSpecial\?/,
    ],
    [
      () => fromUrl("http://127.0.0.1:9/", any({ timeuot: 1 })),
      /timeuot: fromUrl has nothing .* mean timeout\?/,
    ],
    [
      () => fromUrl("http://127.0.0.1:9/", { timeout: 0 }),
      /timeout 0: it is a number above 0/,
    ],
    [
      () => fromUrl("http://127.0.0.1:9/", any({ signal: "now" })),
      /signal "now": it is an AbortSignal/,
    ],
    [() => convert(any("model.gguf")), /source "model.gguf": it is a folder/],
    [() => convert(any(null)), /source null: it is a folder/],
    [
      () => convert(tinyBamboo(), any({ type: "q4_0" })),
      /type "q4_0": it is one of F32, F16/,
    ],
    [
      () => convert(tinyBamboo(), any({ tpye: "F16" })),
      /tpye: convert has nothing .* mean type\?/,
    ],
    [
      () => convert(tinyBamboo(), any({ form: "constructor" })),
      /form "constructor": it is one of llama, powerinfer/,
    ],
    [
      () => convert(tinyBamboo(), any({ predictors: "folder" })),
      /predictors "folder": it is a folder, as openFolder gives it/,
    ],
  ];
  for (const [run, message] of wrong) {
    await isRefused(async () => await run(), message);
  }
});
