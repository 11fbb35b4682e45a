/** Workers that die in the middle of a text are replaced, and the text goes on. */
import assert from "node:assert/strict";
import {
  CulmError,
  FormatError,
  type LanguageModel,
  load,
  type LoadOptions,
  type ModelSource,
} from "../../mod.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { argmax } from "../../src/sampling/logprobs.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomModel } from "../helpers/random_model.ts";
import { RecordedWorkers } from "../helpers/recorded_workers.ts";

/** Loads a model whose workers can be killed. */
async function mortal(
  options: LoadOptions = {},
  source: ModelSource = tinyBamboo(),
): Promise<{ model: LanguageModel; kill: (which: number) => void }> {
  const workers = new RecordedWorkers();
  const model = await load(source, { threads: 2, ...options });
  const dispose = model[Symbol.asyncDispose].bind(model);
  model[Symbol.asyncDispose] = async () => {
    workers[Symbol.dispose]();
    await dispose();
  };
  return {
    model,
    kill: (which) => {
      const worker = workers.started.at(-1 - which)!;
      worker.terminate();
      worker.onerror!(new ErrorEvent("error", { message: "killed" }));
    },
  };
}

Deno.test("a worker killed 50 times in mid-text: 50 times the same text", async () => {
  const { bytes } = await randomModel({ type: "Q4_0", seed: 8 });
  const { model, kill } = await mortal({ batchSize: 16 }, bytes);
  await using _ = model;
  const { engine } = model;
  /** The prompt is three steps long. */
  const prompt = Array.from({ length: 40 }, (_, i) => 7 * i % 96);
  const run = async (killAt?: number, which = 0) => {
    using sequence = engine.createSequence();
    const ids: number[] = [];
    for (let next = prompt; ids.length < 20;) {
      if (ids.length === killAt) setTimeout(() => kill(which), 0);
      const [logits] = await engine.evaluate(sequence, next);
      next = [argmax(logits)];
      ids.push(...next);
    }
    return ids;
  };
  const expected = await run();
  for (let i = 0; i < 50; i++) {
    assert.deepEqual(await run(i % 20, i % 2), expected);
  }
  assert.equal(engine.pagesTaken, 0);
});

Deno.test("a text goes on when its worker dies, in the prompt too, and a warning says so", async () => {
  const warnings: string[] = [];
  const { model, kill } = await mortal({
    onWarning: (message) => warnings.push(message),
  });
  await using _ = model;
  const run = async (killAt?: number, which = 0) => {
    let text = "", pieces = 0;
    if (killAt === 0) setTimeout(() => kill(which), 0);
    const options = { temperature: 0.8, seed: 7, maxTokens: 20 };
    const prompt = "Once upon a time, there was a little girl named Lily.";
    const cachePrompt = killAt !== 0;
    for await (
      const piece of model.generate(prompt, { ...options, cachePrompt })
    ) {
      text += piece.text;
      if (++pieces === killAt) setTimeout(() => kill(which), 0);
    }
    return text;
  };
  const expected = await run();
  for (const killAt of [0, 1, 9, 19]) {
    assert.equal(await run(killAt, killAt % 2), expected);
    // A kill after the last step counts for the next text.
    assert.equal(await run(), expected);
  }
  assert.equal(warnings.length, 4);
  assert.match(warnings[0], /CPU worker \d failed: killed; starting again/);
  assert.equal(model.engine.pagesTaken, 0);
});

Deno.test("a model of a web server is read again, also where the signal of its loading was aborted since", async () => {
  const tiny = tinyBamboo();
  const file = await tiny.read(0, tiny.size);
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    ({ headers }) => {
      const range = headers.get("range")!.match(/(\d+)-(\d+)$/)!;
      const [start, end] = [Number(range[1]), Number(range[2]) + 1];
      return new Response(file.slice(start, end), {
        status: 206,
        headers: {
          "content-range": `bytes ${start}-${end - 1}/${file.length}`,
        },
      });
    },
  );
  const loading = new AbortController();
  {
    const { model, kill } = await mortal(
      { signal: loading.signal },
      `http://127.0.0.1:${server.addr.port}/tiny.gguf`,
    );
    await using _ = model;
    loading.abort();
    kill(0);
    using sequence = model.engine.createSequence();
    const [logits] = await model.engine.evaluate(sequence, [1, 2, 3]);
    assert.equal(logits.length, model.model.vocabSize);
  }
  await server.shutdown();
});

Deno.test("where the weights cannot be read again, every request fails by one typed error", async () => {
  const whole = tinyBamboo();
  const bytes = await whole.read(0, whole.size);
  const inner = fromBuffer(bytes);
  let isClosed = false;
  const source = {
    ...inner,
    read: async (...range: Parameters<typeof inner.read>) => {
      if (isClosed) throw new FormatError("Cannot read: it was closed");
      return await inner.read(...range);
    },
  };
  const { model, kill } = await mortal({}, source);
  await using _ = model;
  const { engine } = model;
  isClosed = true;
  const sequences = [1, 2, 3].map(() => engine.createSequence());
  const requests = sequences.map((sequence) =>
    engine.evaluate(sequence, Array(300).fill(5))
  );
  setTimeout(() => kill(0), 0);
  const given = await Promise.allSettled(requests);
  const reasons = new Set(
    given.map((each) => each.status === "rejected" ? each.reason : undefined),
  );
  assert.equal(reasons.size, 1);
  const [reason] = reasons;
  assert(reason instanceof CulmError);
  assert.match(reason.message, /it was closed/);
  await assert.rejects(engine.evaluate(sequences[0], [1]), reason);
  for (const sequence of sequences) sequence.drop();
});

Deno.test("neurons that a dead worker's team counted stay counted", async () => {
  const { model, kill } = await mortal({ countNeurons: true });
  await using _ = model;
  await using undisturbed = await load(tinyBamboo(), {
    threads: 2,
    countNeurons: true,
  });
  const count = async ({ engine }: LanguageModel, between: () => void) => {
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, [1, 2, 3, 4]);
    between();
    await engine.evaluate(sequence, [5, 6]);
    return engine.profile();
  };
  assert.deepEqual(
    await count(model, () => kill(1)),
    await count(undisturbed, () => {}),
  );
});
