/**
 * What culm says, case by case, as JSON: run in each runtime, which must all say
 * the same. By the package's own names, and without what is Deno's.
 */
import {
  type ChatOptions,
  type GenerateOptions,
  type LanguageModel,
  load,
  type LoadOptions,
  type ModelSource,
  type Piece,
  type Summary,
} from "@culm/culm";
import { estimatePerplexity, scoreChunks, textChunks } from "@culm/culm/lab";
import { tinyBamboo } from "@culm/tiny";

/** Where models lie that are not part of the package. */
export interface Sources {
  /** With a predictor */
  readonly predicted: ModelSource;
  /** Where they are here */
  readonly stories?: ModelSource;
  readonly smollm2?: ModelSource;
}

const prompt = "Once upon a time";
const story =
  "Lily had a red ball. She ran to the park with it. Tom saw the ball and smiled. ";
const greedy: GenerateOptions = { temperature: 0, maxTokens: 8 };

/** A text, as tokens and as it reads, and how it ended. */
async function told(pieces: AsyncIterable<Piece>) {
  const ids: number[] = [];
  let text = "";
  for await (const piece of pieces) {
    ids.push(piece.id);
    text += piece.text;
  }
  return { ids, text };
}

/** `Array.fromAsync`, which not every platform has. */
async function all<T>(each: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of each) items.push(item);
  return items;
}

function write(
  model: LanguageModel,
  options: GenerateOptions = {},
  from: string | readonly number[] = prompt,
) {
  return told(model.generate(from, { ...greedy, ...options }));
}

/** The same, and what the text took. */
async function writeWithSummary(
  model: LanguageModel,
  options: GenerateOptions = {},
  from = prompt,
) {
  let summary: Summary | undefined;
  const onFinish = (each: Summary) => summary = each;
  const text = await write(model, { ...options, onFinish }, from);
  const { finishReason, promptTokens, cachedTokens, completionTokens } =
    summary!;
  return {
    ...text,
    finishReason,
    promptTokens,
    cachedTokens,
    completionTokens,
  };
}

/** What is thrown: its name and message. */
async function thrown(run: () => unknown): Promise<string> {
  try {
    await run();
    return "nothing";
  } catch (error) {
    const { name, message } = error as Error;
    return `${name}: ${message}`;
  }
}

/** What is thrown while a model loads. */
function refused(source: ModelSource, options: LoadOptions = {}) {
  return thrown(async () => {
    const model = await load(source, { threads: 0, ...options });
    await model[Symbol.asyncDispose]();
  });
}

const tools = [{
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: {
        city: { enum: ["Paris", "Rome"] },
        days: { type: "integer" },
      },
      required: ["city", "days"],
    },
  },
}];
const messages = [
  { role: "system", content: "You tell stories." },
  { role: "user", content: "Tell me of a cat — 猫." },
];

type Tell = (model: LanguageModel) => unknown;

/** Of tiny-bamboo. */
const ofTiny: Readonly<Record<string, Tell>> = {
  "tokens of a text": (model) => {
    const text = "  Lily's café, 猫 and 🐈‍⬛…\n\tDone.\u0000";
    const ids = model.tokenize(text);
    return { ids, text: model.detokenize(ids) };
  },
  "special tokens": (model) => [
    model.tokenize("<s>Hi</s>", { parseSpecial: true }),
    model.tokenize("<s>Hi</s>", { addSpecial: false }),
  ],
  "tokens of a chat": (model) => [
    model.tokenizeChat(messages),
    model.tokenizeChat(messages, {
      template:
        "{% for m in messages %}[{{ m.role | upper }}] {{ m.content | trim }}\n{% endfor %}{{ tools | tojson }}",
      tools,
    }),
  ],
  "a text": (model) => writeWithSummary(model),
  "a text of ids": (model) => write(model, {}, [1, 403, 407, 261]),
  "a seed": (model) => write(model, { temperature: 0.8, seed: 1 }),
  "a seed, of all tokens": (model) =>
    write(model, { temperature: 1.4, seed: 2, samplers: ["temperature"] }),
  "top-p and min-p": (model) =>
    write(model, { temperature: 1, seed: 3, topK: 0, topP: 0.9, minP: 0.02 }),
  "typical tokens": (model) =>
    write(model, { temperature: 1, seed: 4, typicalP: 0.7 }),
  "XTC": (model) =>
    write(model, { temperature: 1, seed: 5, xtcProbability: 0.7 }),
  "DRY and penalties": (model) =>
    write(model, {
      dryMultiplier: 0.8,
      repeatPenalty: 1.2,
      presencePenalty: 0.5,
      frequencyPenalty: 0.3,
    }, story.repeat(2)),
  "biases": async (model) => {
    const { ids: [first] } = await write(model, { maxTokens: 1 });
    return write(model, { logitBias: { [first]: -Infinity, 300: 4 } });
  },
  "log-probabilities": async (model) => {
    const pieces = model.generate(prompt, {
      ...greedy,
      maxTokens: 6,
      logprobs: 3,
    });
    return (await all(pieces)).map(({ logprob, topLogprobs }) => ({
      logprob,
      top: topLogprobs!.map(({ id, logprob }) => [id, logprob]),
    }));
  },
  "perplexity": async (model) => {
    const chunks = textChunks(model.tokenizer, story.repeat(3), 24);
    const scores = (await all(scoreChunks(model.engine, chunks)))
      .map(([score]) => score);
    return {
      tokens: scores.map(({ tokens }) => tokens),
      ...estimatePerplexity(scores),
    };
  },
  "embeddings": async (model) => [
    ...await model.embed(story, { dimensions: 8 }),
    ...await model.embed(prompt, { pooling: "last", dimensions: 4 }),
  ],
  "a chat": (model) => told(model.chat(messages, greedy)),
  "a call of a tool": async (model) => {
    const options: ChatOptions = {
      ...greedy,
      maxTokens: 64,
      tools,
      toolChoice: "required",
    };
    return (await all(model.answer(messages, options)))
      .map((event) => event.type === "toolCall" ? event.name : event);
  },
  "JSON of a schema": (model) =>
    write(model, {
      maxTokens: 32,
      schema: {
        type: "object",
        properties: {
          name: { type: "string", maxLength: 12 },
          kind: { enum: ["cat", "dog"] },
          ages: { type: "array", items: { type: "integer" }, maxItems: 3 },
        },
        required: ["name", "kind", "ages"],
        additionalProperties: false,
      },
    }),
  "any JSON, of a seed": (model) =>
    write(model, { json: true, temperature: 0.8, seed: 6 }),
  "a grammar": (model) =>
    write(model, {
      grammar:
        `root ::= name " said: \\"" word{2,4} "\\""\nname ::= "Tom" | "Lily"\nword ::= [a-z]{1,7} " "`,
    }),
  "a regex": (model) =>
    write(model, { regex: "(The|A) [a-z]+ (is|was) [0-9]{2}\\." }),
  "structures": (model) =>
    write(model, {
      maxTokens: 24,
      structured: {
        structures: [{
          begin: "<n>",
          content: { schema: { type: "integer", maximum: 99, minimum: 1 } },
          end: "</n>",
        }],
        least: 1,
        most: 2,
        freeText: false,
      },
    }),
  "stop strings": (model) =>
    writeWithSummary(model, { stop: ["girl named", "zebra"] }),
  "a text without an end": (model) =>
    writeWithSummary(model, { ignoreEos: true }, `${story}The end.`),
  "drafts": async (model) => {
    const drafted: GenerateOptions = {
      speculation: "ngram-simple",
      draftMax: 4,
    };
    const text = await write(model, drafted, story.repeat(3));
    const plain = await write(model, { speculation: "none" }, story.repeat(3));
    return [text, plain];
  },
  "three texts at the same time": (model) =>
    Promise.all([
      write(model),
      write(model, { temperature: 0.8, seed: 7 }, story),
      write(model, { regex: "[A-Z][a-z]+ [a-z]+" }, "Tom"),
    ]),
  "a session that goes on": async (model) => {
    const session = model.createSession();
    const first = await write(model, { session });
    const more = `${prompt}${first.text} and`;
    const second = await writeWithSummary(model, { session }, more);
    const { ids } = session;
    session[Symbol.dispose]();
    return [first, second, ids];
  },
  "a session that was saved": async (model) => {
    const session = model.createSession();
    const { text } = await write(model, { session });
    const bytes = await model.save(session);
    const restored = await model.restore(bytes);
    const more = `${prompt}${text} So`;
    const next = await writeWithSummary(model, { session: restored }, more);
    const other = bytes.slice();
    other[0] = 88;
    return {
      size: bytes.length,
      ids: restored.ids,
      next,
      other: await thrown(() => model.restore(other)),
      cut: await thrown(() => model.restore(bytes.slice(0, -1))),
    };
  },
  "a session in use, or gone": async (model) => {
    const session = model.createSession();
    const text = write(model, { session });
    const second = await thrown(() => write(model, { session }));
    await text;
    session[Symbol.dispose]();
    return [second, await thrown(() => write(model, { session }))];
  },
  "aborted in the prompt": async (model) => {
    const stop = new AbortController();
    const text = writeWithSummary(
      model,
      { signal: stop.signal, cachePrompt: false },
      story.repeat(4),
    );
    stop.abort(new Error("Enough"));
    const { finishReason, ids } = await text;
    const { signal } = stop;
    const whole = await thrown(() => model.complete(prompt, { signal }));
    return { finishReason, ids, whole };
  },
  "aborted in the answer": async (model) => {
    const stop = new AbortController();
    const ids: number[] = [];
    const onToken = ({ id }: Piece) => {
      if (ids.push(id) === 4) stop.abort(new Error("Enough"));
    };
    const { signal } = stop;
    const text = () => model.complete(prompt, { ...greedy, signal, onToken });
    return { error: await thrown(text), ids: ids.slice(0, 4) };
  },
  "a text that is not read on": async (model) => {
    const ids: number[] = [];
    for await (const { id } of model.generate(prompt, greedy)) {
      if (ids.push(id) === 3) break;
    }
    return [ids, await write(model)];
  },
  "prompts that cannot be": async (model) => [
    await thrown(() => write(model, {}, [])),
    await thrown(() => write(model, {}, [1, 5000])),
    await thrown(() => write(model, {}, story.repeat(40))),
    await thrown(() => write(model, {}, 5 as unknown as string)),
    await thrown(() => model.embed("", { pooling: "cls", dimensions: 999 })),
  ],
  "options that cannot be": async (model) => [
    await thrown(() => write(model, { maxTokens: -2 })),
    await thrown(() => write(model, { maxTokens: 1.5, topP: NaN })),
    await thrown(() => write(model, { maxTokns: 8 } as GenerateOptions)),
    await thrown(() => write(model, { logitBias: { 5000: 1 } })),
    await thrown(() => write(model, { json: true, regex: "a" })),
    await thrown(() => write(model, { samplers: ["top_q" as "top_k"] })),
    await thrown(() => told(model.chat(messages, { template: "{% if %}" }))),
    await thrown(() => all(model.answer(messages, { toolChoice: "required" }))),
  ],
  "constraints that cannot be": async (model) => [
    await thrown(() => write(model, { regex: "(a" })),
    await thrown(() => write(model, { regex: "a(?=b)" })),
    await thrown(() => write(model, { grammar: "root ::= word" })),
    await thrown(() => write(model, { schema: { type: "stringy" } })),
    await thrown(() => write(model, { schema: { $ref: "#/$defs/none" } })),
  ],
};

/** A text of a model that is loaded otherwise. */
const loads: Readonly<Record<string, LoadOptions>> = {
  "all neurons": { sparsity: { mode: "dense" } },
  "a fifth of the neurons": { sparsity: { mode: "top-k", share: 0.2 } },
  "neurons above a threshold": { sparsity: { mode: "threshold", value: 0.05 } },
  "a cache in q8_0": { cacheType: "q8_0" },
  "a cache in f32": { cacheType: "f32" },
  "a context of 12": { contextSize: 12 },
  "steps of 3 tokens": { batchSize: 3 },
  "a screened head": { screenHead: "on" },
};

/** What is refused while it loads. */
const refusals: Readonly<Record<string, () => Promise<unknown>>> = {
  "files that cannot be": async () => {
    const source = tinyBamboo();
    const bytes = await source.read(0, source.size);
    const other = bytes.slice();
    other[0] = 88;
    const version = bytes.slice();
    version[4] = 9;
    return [
      await refused(bytes.subarray(0, 5000)),
      await refused(bytes.subarray(0, -100)),
      await refused(new Uint8Array(0)),
      await refused(other),
      await refused(version),
    ];
  },
  "loading that cannot be": async () => [
    await refused(tinyBamboo(), { threads: -1 }),
    await refused(tinyBamboo(), { thread: 1 } as LoadOptions),
    await refused(tinyBamboo(), { cacheType: "q9" as "f16" }),
    await refused(tinyBamboo(), { sparsity: { mode: "predictor" } }),
    await refused(tinyBamboo(), { sparsity: { mode: "top-k", share: 2 } }),
    await refused(tinyBamboo(), { contextSize: 2 ** 30 }),
    await refused(7 as unknown as string),
    await refused(tinyBamboo(), {
      signal: AbortSignal.abort(new Error("Enough")),
    }),
  ],
};

/** What every case gives, and what computed it. */
export interface Told {
  readonly backend: string;
  readonly cases: Readonly<Record<string, unknown>>;
}

/** Runs all cases. */
export async function tellAll(
  { predicted, stories, smollm2 }: Sources,
  threads: number,
): Promise<Told> {
  const cases: Record<string, unknown> = {};
  const withModel = async <T>(
    source: ModelSource,
    options: LoadOptions,
    use: (model: LanguageModel) => Promise<T>,
  ) => {
    const model = await load(source, { threads, ...options });
    try {
      return await use(model);
    } finally {
      await model[Symbol.asyncDispose]();
    }
  };
  const text = (source: ModelSource, options: LoadOptions = {}) =>
    withModel(source, options, (model) => writeWithSummary(model));

  const backend = await withModel(tinyBamboo(), {}, async (model) => {
    for (const [name, tell] of Object.entries(ofTiny)) {
      cases[name] = await tell(model);
    }
    return model.backend;
  });
  for (const [name, options] of Object.entries(loads)) {
    cases[name] = await text(tinyBamboo(), options);
  }
  for (const [name, tell] of Object.entries(refusals)) {
    cases[name] = await tell();
  }
  cases["a model that is gone"] = await withModel(
    tinyBamboo(),
    {},
    async (model) => {
      const under = thrown(() => write(model, { maxTokens: 200 }));
      await model[Symbol.asyncDispose]();
      return [
        await under,
        await thrown(() => write(model)),
        await thrown(() => model.embed(prompt)),
        model.tokenize(prompt),
      ];
    },
  );
  cases["a predictor of 4-bit weights"] = await text(predicted, {
    sparsity: { mode: "predictor" },
  });
  cases["a predictor, at a score"] = await text(predicted, {
    sparsity: { mode: "predictor", threshold: 0.3 },
  });
  if (stories) cases["stories260K"] = await text(stories);
  if (smollm2) {
    cases["SmolLM2"] = await withModel(
      smollm2,
      { contextSize: 256 },
      async (model) => [
        await told(model.chat(messages, { ...greedy, maxTokens: 12 })),
        await write(model, { temperature: 0.8, seed: 8, maxTokens: 8 }),
      ],
    );
  }
  return { backend, cases };
}
