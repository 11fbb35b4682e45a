/** Sessions that were saved and restored: texts go on in them as if they had never been away. */
import assert from "node:assert/strict";
import {
  CulmError,
  FormatError,
  type LanguageModel,
  LimitError,
  load,
  type LoadOptions,
  type Session,
  UsageError,
} from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { inFolder, namesIn } from "../cli/temp_folder.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { RecordedWorkers } from "../helpers/recorded_workers.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

const shapes: readonly RandomModelOptions[] = [
  { type: "Q8_0", hiddenSize: 96, headCount: 6, kvHeadCount: 3, seed: 5 },
  { type: "F16", slidingWindow: 7, headSize: 14, seed: 6 },
];

/** Loads a small model, on the CPU alone. */
function small(
  { bytes }: RandomModel,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  return load(bytes, { threads: 0, gpu: "off", batchSize: 16, ...options });
}

/** The logits after each of some tokens that are appended one by one. */
async function append(session: Session, ids: readonly number[]) {
  const rows: Float32Array[] = [];
  for (const id of ids) {
    rows.push(await session.append([id]) as Float32Array);
  }
  return rows;
}

function idsOf({ model }: RandomModel, count: number, seed = 1): number[] {
  const random = seededRandom(seed);
  return Array.from(
    { length: count },
    () => Math.floor(random() * model.vocabSize),
  );
}

for (const cacheType of ["f32", "f16", "q8_0"] as const) {
  for (const shape of shapes) {
    Deno.test(`any number of threads saves the same bytes and goes on to the same logits: ${cacheType}, ${JSON.stringify(shape)}`, async () => {
      const made = await randomModel(shape);
      const past = idsOf(made, 70), next = idsOf(made, 4, 2);
      const texts: { bytes: Uint8Array; logits: Float32Array[] }[] = [];
      for (const threads of [0, 1, 2, 3]) {
        await using model = await small(made, { threads, cacheType });
        using session = model.createSession();
        await session.append(past.slice(0, 50));
        await append(session, past.slice(50));
        const bytes = await model.save(session);
        texts.push({ bytes, logits: await append(session, next) });
        using restored = await model.restore(texts[0].bytes);
        assert.deepEqual(restored.ids, past);
        assert.deepEqual(await append(restored, next), texts[0].logits);
        // One that parts from it within a page, and where a page ends.
        for (const at of [41, 32]) {
          using other = await model.restore(new Blob([bytes]));
          const text = [...past.slice(0, at), ...next];
          assert.equal(other.reuse(text, false), at);
          const logits = await append(other, next);
          using fresh = model.createSession();
          await fresh.append(past.slice(0, at));
          assert.deepEqual(logits, await append(fresh, next));
        }
      }
      for (const text of texts) assert.deepEqual(text, texts[0]);
    });
  }
}

Deno.test("random sessions: 40 saves and restores change no logit", async () => {
  const made = await randomModel(shapes[0]);
  await using plain = await small(made, { prefixCache: false });
  await using model = await small(made, { cacheSize: 640 });
  const random = seededRandom(4);
  const below = (n: number) => Math.floor(random() * n);
  using expected = plain.createSession();
  let session = model.createSession();
  let left: Session | undefined;
  for (let i = 0; i < 40; i++) {
    const kept = below(expected.ids.length + 1);
    const ids = [
      ...expected.ids.slice(0, kept),
      ...idsOf(made, 1 + below(40), i),
    ];
    const text = ids.slice(-120);
    const logits = [];
    for (const each of [expected, session]) {
      const common = each.reuse(text, each === session);
      logits.push(await each.append(text.slice(common)));
    }
    assert.deepEqual(logits[1], logits[0]);
    const tokens = below(2) ? text.length : below(text.length + 1);
    const bytes = await model.save(session, undefined, { tokens });
    // Now and then one stays a while.
    left?.[Symbol.dispose]();
    left = session;
    if (below(2)) left[Symbol.dispose]();
    session = await model.restore(bytes);
    assert.deepEqual(session.ids, text.slice(0, tokens));
  }
  left![Symbol.dispose]();
  session[Symbol.dispose]();
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("a restored session writes the text that the saved one would have written", async () => {
  await using model = await load(tinyBamboo(), { gpu: "off" });
  const prompt = model.tokenize("Once upon a time, in a big forest, there");
  const write = (session: Session, ids: readonly number[]) =>
    model.complete(ids, { session, seed: 7, maxTokens: 24 });
  using session = model.createSession();
  const text = await write(session, prompt);
  const bytes = await model.save(session);
  const next = [...session.ids, ...model.tokenize(" And then")];
  const whole = await write(session, next);
  using restored = await model.restore(bytes);
  assert.equal(await write(restored, next), whole);
  using again = await model.restore(bytes);
  assert.equal(await write(again, prompt), text);
});

Deno.test("damaged pasts: cut anywhere, or with any bit flipped, is an error and nothing else", async () => {
  const made = await randomModel({ ...shapes[1], layerCount: 1 });
  await using model = await small(made);
  using session = model.createSession();
  await session.append(idsOf(made, 40));
  const bytes = await model.save(session);
  const { engine } = model;
  const taken = engine.pagesTaken;
  const refused = async (damaged: Uint8Array, what: string) => {
    await assert.rejects(
      model.restore(damaged),
      (error: Error) => {
        assert(error instanceof CulmError, `${what}: ${error.stack}`);
        assert.match(error.message, /^Cannot re(store|ad) buffer: [^\n]+$/);
        return true;
      },
      what,
    );
    assert.equal(engine.pagesTaken, taken, what);
  };
  for (let length = 1; length < bytes.length; length += 61) {
    await refused(bytes.slice(0, length), `cut at ${length}`);
  }
  await refused(Uint8Array.of(...bytes, 0), "one byte more");
  for (let at = 0; at < bytes.length; at += at < 300 ? 1 : 97) {
    const damaged = bytes.slice();
    damaged[at] ^= 1 << at % 8;
    await refused(damaged, `bit ${at % 8} of byte ${at}`);
  }
  using restored = await model.restore(bytes);
  assert.deepEqual(restored.ids, session.ids);
});

Deno.test("a past is refused by another model, cache type, sparsity and context, and version", async () => {
  const made = await randomModel(shapes[0]);
  const other = await randomModel({ ...shapes[0], seed: 99 });
  await using model = await small(made);
  using session = model.createSession();
  await session.append(idsOf(made, 40));
  const bytes = await model.save(session);
  const refused = async (
    loaded: Promise<LanguageModel>,
    kind: typeof CulmError,
    message: RegExp,
    past: Uint8Array = bytes,
  ) => {
    await using model = await loaded;
    await assert.rejects(model.restore(past), (error: Error) => {
      assert(error instanceof kind, error.stack);
      assert.match(error.message, message);
      return true;
    });
    using fresh = model.createSession();
    await fresh.append([1, 2, 3]);
    assert.equal(fresh.ids.length, 3);
  };
  await refused(
    small(other),
    UsageError,
    /it is a past of \S+ \([0-9a-f]{12}\), the model is \S+ \([0-9a-f]{12}\)$/,
  );
  await refused(
    small(made, { cacheType: "f32" }),
    UsageError,
    /it is of cache type f16, the model that is loaded of f32$/,
  );
  await refused(
    small(made, { sparsity: { mode: "top-k", share: 0.5 } }),
    UsageError,
    /it is of sparsity exact, the model that is loaded of top-k=0.5$/,
  );
  await refused(
    small(made, { contextSize: 39 }),
    LimitError,
    /it has 40 tokens, the context 39$/,
  );
  await refused(
    small(made, { cacheSize: 32 }),
    LimitError,
    /40 tokens.* 2 pages of keys and values, the limit is 1$/,
  );
  const next = bytes.slice();
  next[8] = 2;
  await refused(
    small(made),
    FormatError,
    /its version is 2, known is 1$/,
    next,
  );
  // Dense computes the same.
  await using dense = await small(made, { sparsity: { mode: "dense" } });
  using restored = await dense.restore(bytes);
  assert.equal(restored.ids.length, 40);
});

Deno.test("a past that was made up, with digests that are right, is held to the vocabulary", async () => {
  const made = await randomModel(shapes[0]);
  await using model = await small(made);
  using session = model.createSession();
  await session.append([1, 2, 3]);
  const bytes = await model.save(session);
  const view = new DataView(bytes.buffer);
  const end = 16 + view.getUint32(12, true) + 4 * 3;
  const digest = async (...parts: Uint8Array<ArrayBuffer>[]) => {
    const whole = await new Blob(parts).arrayBuffer();
    return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  };
  for (const id of [-1, made.model.vocabSize, 2 ** 31 - 1]) {
    view.setInt32(end - 8, id, true);
    bytes.set(await digest(bytes.subarray(0, end)), end);
    bytes.set(await digest(bytes.subarray(end, -32)), bytes.length - 32);
    await assert.rejects(model.restore(bytes), (error: Error) => {
      assert(error instanceof FormatError, error.stack);
      assert.match(error.message, RegExp(`it has token ${id} of 96$`));
      return true;
    });
    assert.equal(model.engine.pagesTaken, 1);
  }
});

Deno.test("what cannot be saved leaves session and model as they were", async () => {
  const made = await randomModel(shapes[0]);
  await using model = await small(made, { threads: 2 });
  await using other = await small(made);
  using session = model.createSession();
  await session.append(idsOf(made, 100));
  const before = await model.save(session);
  using stranger = other.createSession();
  const gone = model.createSession();
  gone[Symbol.dispose]();
  const { engine } = model, taken = engine.pagesTaken;
  const failing = () =>
    new WritableStream<Uint8Array>({
      write: (chunk) => {
        if (chunk.length > 32) throw new Error("disk full");
      },
    });
  const aborted = AbortSignal.abort(new Error("by the test"));
  const late = new AbortController();
  const aborting = new WritableStream<Uint8Array>({
    write: () => late.abort(new Error("in the middle")),
  });
  const locked = new WritableStream<Uint8Array>();
  locked.getWriter();
  // deno-lint-ignore no-explicit-any -- callers in JavaScript
  const untyped = model as any;
  for (
    const [attempt, message] of [
      [() => model.save(session, failing()), /disk full/],
      [
        () => model.save(session, undefined, { signal: aborted }),
        /by the test/,
      ],
      [
        () => model.save(session, aborting, { signal: late.signal }),
        /in the middle/,
      ],
      [() => model.restore(before, { signal: aborted }), /by the test/],
      [() => model.save(session, undefined, { tokens: 101 }), /100 .*to 101/],
      [() => model.save(session, "/nonexistent/past"), /Cannot write/],
      [() => model.save(stranger), /a session of another model/],
      [() => model.save(gone), /a session that was disposed of/],
      [() => untyped.save({}), /session/],
      [() => untyped.save(session, 5), /a path, a URL or a WritableStream/],
      [() => model.save(session, ""), /destination "".*of a local file/],
      [() => model.save(session, "https://a/b"), /of a local file/],
      [() => model.save(session, new URL("https://a/b")), /of a local file/],
      [() => model.save(session, locked), /not locked/],
      [() => untyped.save(session, "x", { token: 5 }), /token/],
      [() => untyped.restore(5), /source/],
    ] as const
  ) {
    await assert.rejects(attempt, (error: Error) => {
      assert.match(error.message, message);
      return true;
    });
    assert.equal(engine.pagesTaken, taken);
  }
  assert.deepEqual(await model.save(session), before);
});

Deno.test("a session that writes a text cannot be saved, and one that is saved may write", async () => {
  await using model = await load(tinyBamboo(), { threads: 2, gpu: "off" });
  using session = model.createSession();
  const prompt = "Tom had a red ball and";
  for await (const _ of model.generate(prompt, { session, maxTokens: 3 })) {
    await assert.rejects(model.save(session), UsageError);
  }
  const saved = [...session.ids];
  const saving = model.save(session);
  await model.complete(prompt + " a dog", { session, maxTokens: 40 });
  using restored = await model.restore(await saving);
  assert.deepEqual(restored.ids, saved);
});

Deno.test("others' tokens are evaluated while a long past is saved", async () => {
  const made = await randomModel(shapes[0]);
  await using model = await small(made, { contextSize: 640 });
  using session = model.createSession();
  await session.append(idsOf(made, 600));
  using other = model.engine.createSequence();
  let evaluated = 0, isSaved = false;
  const stream = new WritableStream<Uint8Array>({
    write: async () => {
      await model.engine.evaluate(other, [evaluated++ % 50]);
    },
  });
  await model.save(session, stream);
  assert.equal(evaluated, 2 * (1 + Math.ceil(600 / 32)));
  // And the other way round: who never stops does not keep it from being saved.
  const saving = model.save(session).then(() => isSaved = true);
  const start = performance.now();
  while (!isSaved && performance.now() - start < 20_000) {
    other.truncate(0);
    await model.engine.evaluate(other, [1]);
  }
  assert(isSaved, "saving waits for the others to end");
  await saving;
});

Deno.test("a worker that dies while a past is read or taken over is replaced", async () => {
  const made = await randomModel(shapes[0]);
  using workers = new RecordedWorkers();
  await using model = await small(made, { threads: 2 });
  using session = model.createSession();
  await session.append(idsOf(made, 100));
  const before = await model.save(session);
  const kill = () => {
    const worker = workers.started.at(-1)!;
    worker.terminate();
    worker.onerror!(new ErrorEvent("error", { message: "killed" }));
  };
  let sections = 0;
  const chunks: Uint8Array[] = [];
  await model.save(
    session,
    new WritableStream({
      write: (chunk) => {
        chunks.push(chunk);
        if (sections++ === 3) kill();
      },
    }),
  );
  const saved = new Blob(chunks as BlobPart[]);
  assert.deepEqual(new Uint8Array(await saved.arrayBuffer()), before);
  let reads = 0;
  using restored = await model.restore({
    name: "past",
    size: saved.size,
    read: async (offset, length) => {
      if (reads++ === 5) kill();
      const part = saved.slice(offset, offset + length);
      return new Uint8Array(await part.arrayBuffer());
    },
    close: () => Promise.resolve(),
  });
  assert.deepEqual(await model.save(restored), before);
});

Deno.test("a past in a file: written whole or not at all, and nothing else is replaced", async () => {
  await inFolder(async (folder) => {
    const made = await randomModel(shapes[0]);
    await using model = await small(made);
    using session = model.createSession();
    await session.append(idsOf(made, 40));
    const path = `${folder}/past`;
    await model.save(session, path);
    await session.append([5]);
    await model.save(session, new URL(`file://${path}`));
    using restored = await model.restore(path);
    assert.equal(restored.ids.length, 41);
    assert.deepEqual(await namesIn(folder), ["past"]);

    const refused = async (path: string, message: RegExp) => {
      const names = await namesIn(folder);
      await assert.rejects(model.save(session, path), (error: Error) => {
        assert(error instanceof CulmError, error.stack);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(await namesIn(folder), names);
    };
    const mine = `${folder}/model.gguf`;
    await Deno.writeFile(mine, made.bytes);
    await refused(mine, /there is something else already$/);
    assert.deepEqual(await Deno.readFile(mine), made.bytes);
    await refused(folder, /there is something else already$/);
    await Deno.symlink(mine, `${folder}/link`);
    await refused(`${folder}/link`, /there is something else already$/);
    await Deno.writeTextFile(`${path}.part`, "of another");
    await refused(path, /past.part is there already/);
    await Deno.remove(`${path}.part`);

    // Two at once: one is refused, and the file is whole.
    const both = await Promise.allSettled([
      model.save(session, path),
      model.save(session, path),
    ]);
    assert.deepEqual(both.map(({ status }) => status).sort(), [
      "fulfilled",
      "rejected",
    ]);
    using last = await model.restore(path);
    assert.equal(last.ids.length, 41);
    const signal = AbortSignal.abort();
    await assert.rejects(model.save(session, path, { signal }));
    assert.deepEqual(await namesIn(folder), ["link", "model.gguf", "past"]);
  });
});
