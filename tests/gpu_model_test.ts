/**
 * Models with a GPU, through the library's own door: the tokens of the goldens,
 * what is counted, and what happens where the GPU is missing or lost. Needs an
 * adapter; one in software will do.
 */
import assert from "node:assert/strict";
import { GpuError, load, type LoadOptions, UsageError } from "../mod.ts";
import { describeModel, type Model, readGguf } from "../gguf.ts";
import { deviceBytes } from "../src/places/gpu/memory/layout.ts";
import type { PlacePlan } from "../src/plan/plan.ts";
import { testWithAdapter } from "./helpers/adapter.ts";
import { bambooFiles } from "./helpers/bamboo_files.ts";
import { firstLayers, hybrid, randomSplit } from "./helpers/hybrid_plans.ts";
import { randomModel, smallF16 } from "./helpers/random_model.ts";

const plans: Record<string, (model: Model) => PlacePlan> = {
  "attention and 50% of the neurons on the GPU": (model) => hybrid(model, 0.5),
  "a random split": (model) => randomSplit(model, 3),
};
/** Software drivers take long for each. */
const maxTokens = 16;
const files = bambooFiles.filter(({ name }) => name.endsWith("powerinfer"));

for (const file of files) {
  for (const [name, plan] of Object.entries(plans)) {
    testWithAdapter(
      `${file.name}, ${name}: every id is the golden's`,
      async () => {
        const source = await file.open();
        const gpuPlan = plan(describeModel(await readGguf(source)));
        await using model = await load(source, {
          threads: 2,
          contextSize: 128,
          gpu: "require",
          gpuPlan,
        });
        const goldens = file.texts().slice(0, 3);
        // Together, so that they share steps.
        const texts = await Promise.all(goldens.map(async (golden) => {
          const { prompt_ids } = golden;
          const options = { temperature: 0, maxTokens };
          const ids: number[] = [];
          for await (const { id } of model.generate(prompt_ids, options)) {
            ids.push(id);
          }
          return ids;
        }));
        assert.deepEqual(
          texts,
          goldens.map(({ greedy_ids }) => greedy_ids.slice(0, maxTokens)),
        );
        await source.close();
      },
    );
  }
}

testWithAdapter(
  "threads and a GPU that share experts say what threads alone say",
  async () => {
    const { bytes, model } = await randomModel({
      architecture: "smallthinker",
      type: "F16",
      expertCount: 6,
    });
    const textOf = async (options: LoadOptions) => {
      await using model = await load(bytes, {
        threads: 2,
        contextSize: 64,
        cacheType: "f32",
        ...options,
      });
      const { engine } = model;
      using sequence = engine.createSequence();
      let next = [5, 77, 31, 8];
      const ids: number[] = [];
      for (let i = 0; i < 20; i++) {
        const [logits] = await engine.evaluate(sequence, next);
        ids.push(...next = [logits.indexOf(Math.max(...logits))]);
      }
      return { ids, gpu: engine.gpu };
    };
    const alone = await textOf({ gpu: "off" });
    const both = await textOf({ gpu: "require", gpuPlan: hybrid(model, 0.5) });
    assert.deepEqual(both.ids, alone.ids);
    assert(both.gpu);
  },
);

/** Runs `use` while devices that are opened in this thread are put into the list it is given. */
async function watchingDevices<T>(
  use: (devices: GPUDevice[]) => Promise<T>,
): Promise<T> {
  const { requestDevice } = GPUAdapter.prototype;
  const devices: GPUDevice[] = [];
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await requestDevice.call(this, descriptor);
    devices.push(device);
    return device;
  };
  try {
    return await use(devices);
  } finally {
    GPUAdapter.prototype.requestDevice = requestDevice;
  }
}

const small = await smallF16();

testWithAdapter("a GPU lost at any of 50 tokens changes no token", async () => {
  const options: LoadOptions = {
    threads: 0,
    contextSize: 64,
    cacheSize: 320,
    cacheType: "f32",
  };
  const length = 25, gap = 5;
  /**
   * Greedy ids of as many texts, each `gap` tokens behind the one before, so that
   * a device that is destroyed before step `lostAt` is lost at another token of each.
   */
  const generate = async (more: LoadOptions, count: number, lostAt?: number) =>
    await watchingDevices(async (devices) => {
      await using model = await load(small.bytes, { ...options, ...more });
      const { engine } = model;
      const texts = Array.from({ length: count }, () => ({
        sequence: engine.createSequence(),
        next: [5, 77, 31],
        ids: [] as number[],
      }));
      for (let step = 0; step < length + gap * (count - 1); step++) {
        if (step === lostAt) devices.at(-1)!.destroy();
        await Promise.all(texts.map(async (text, i) => {
          if (step < gap * i || text.ids.length === length) return;
          const [logits] = await engine.evaluate(text.sequence, text.next);
          text.next = [logits.indexOf(Math.max(...logits))];
          text.ids.push(...text.next);
        }));
      }
      assert.equal(engine.gpu === undefined, lostAt !== undefined);
      for (const { sequence } of texts) sequence.drop();
      return texts.map(({ ids }) => ids);
    });
  const plans = [hybrid(small.model, 0.5), firstLayers(small.model, 2, true)];
  for (const gpuPlan of plans) {
    const gpu = { gpu: "require", gpuPlan } as const;
    const [undisturbed] = await generate(gpu, 1);
    assert.equal(new Set(undisturbed).size > 5, true);
    const losses = Array.from({ length: gap }, (_, i) => [5, 20 + i]);
    for (const [count, lostAt] of [[1, 0], [1, 7], [1, 24], ...losses]) {
      const warnings: string[] = [];
      const onWarning = (message: string) => warnings.push(message);
      const texts = await generate({ ...gpu, onWarning }, count, lostAt);
      for (const ids of texts) assert.deepEqual(ids, undisturbed);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0], /^The GPU failed .*; going on with the CPU$/);
    }
  }
});

testWithAdapter(
  "a process that closes a model waits at its end for the driver to be given up",
  async () => {
    const { model: header, bytes } = small;
    const gpuPlan = hybrid(header, 0.5);
    const model = await load(bytes, { threads: 1, gpu: "require", gpuPlan });
    await model[Symbol.asyncDispose]();
    const start = performance.now();
    dispatchEvent(new Event("unload"));
    assert(performance.now() - start > 250);
  },
);

testWithAdapter(
  "a step on both sides costs what the documentation says",
  async () => {
    const { model: header, bytes } = small;
    const layers = header.layers.length;
    const gpuPlan = hybrid(header, 0.5);
    for (const plan of [gpuPlan, firstLayers(header, layers, true)]) {
      await using model = await load(bytes, {
        threads: 2,
        contextSize: 64,
        gpu: "require",
        gpuPlan: plan,
      });
      using sequence = model.engine.createSequence();
      await model.engine.evaluate(sequence, [1]);
      const before = { ...model.engine.gpu!.counts };
      await model.engine.evaluate(sequence, [2]);
      const now = model.engine.gpu!.counts;
      const dispatches = now.dispatches - before.dispatches;
      const submits = now.submits - before.submits;
      const readBacks = now.readBacks - before.readBacks;
      // Embedding and output head come on top.
      assert(dispatches <= 8 * layers + 2, `${dispatches} dispatches`);
      if (plan === gpuPlan) {
        assert(submits <= 2 * layers + 1, `${submits} submits`);
        assert.equal(readBacks, layers + 1);
      } else assert.deepEqual([submits, readBacks], [1, 1]);
    }
  },
);

testWithAdapter(
  "the device holds what was planned, and no more than the budget",
  async () => {
    const budget = 400_000;
    await using model = await load(small.bytes, {
      threads: 1,
      contextSize: 64,
      batchSize: 16,
      gpu: "require",
      vramBudget: budget / 2 ** 30,
    });
    const { gpu, gpuPlan } = model.engine;
    const planned = deviceBytes({
      model: model.model,
      plan: gpuPlan!,
      sparsity: { mode: "exact" },
      limits: { tokens: 16, contextSize: 64 },
      cacheType: "f16",
    }).all;
    assert(gpu!.bytes <= budget, `${gpu!.bytes} bytes`);
    assert(Math.abs(gpu!.bytes / planned - 1) < 0.02, `planned ${planned}`);
    assert(model.backend.includes("WASM"));
  },
);

testWithAdapter(
  "a plan that does not fit is an error, or left to the CPU with one line",
  async () => {
    const gpuPlan = firstLayers(small.model, 2, true);
    const options: LoadOptions = {
      threads: 1,
      contextSize: 64,
      gpuPlan,
      vramBudget: 100_000 / 2 ** 30,
    };
    await assert.rejects(
      load(small.bytes, { ...options, gpu: "require" }),
      (error: Error) => {
        assert(error instanceof GpuError);
        assert.match(error.message, /needs \d+ bytes .* the budget is 100000$/);
        return true;
      },
    );
    await assert.rejects(
      load(small.bytes, { ...options, gpu: "require", gpuPlan: undefined }),
      /^GpuError: Cannot use the GPU: no part of the model fits/,
    );
  },
);

Deno.test("a GPU that is not there is an error where it is required, and nothing else where it is not", async () => {
  const real = Object.getOwnPropertyDescriptor(Navigator.prototype, "gpu")!;
  const options: LoadOptions = { threads: 0, contextSize: 64 };
  try {
    Object.defineProperty(Navigator.prototype, "gpu", {
      configurable: true,
      get: () => undefined,
    });
    await assert.rejects(
      load(small.bytes, { ...options, gpu: "require" }),
      /^GpuError: Cannot use a GPU: there is none here$/,
    );
    for (const gpu of ["auto", "off"] as const) {
      const warnings: string[] = [];
      await using model = await load(small.bytes, {
        ...options,
        gpu,
        gpuPlan: firstLayers(small.model, 2, true),
        onWarning: (message) => warnings.push(message),
      });
      assert.equal(model.engine.gpu, undefined);
      assert.deepEqual(warnings, []);
    }
  } finally {
    Object.defineProperty(Navigator.prototype, "gpu", real);
  }
});

Deno.test("what only the CPU does is refused where a GPU is required", async () => {
  await assert.rejects(
    load(small.bytes, { gpu: "require", countNeurons: true }),
    (error: Error) => {
      assert(error instanceof UsageError);
      assert.match(error.message, /only the CPU counts neurons/);
      return true;
    },
  );
});

testWithAdapter(
  "a GPU's worker that dies is one line, and the text goes on",
  async () => {
    const workers: Worker[] = [];
    const Real = globalThis.Worker;
    globalThis.Worker = class extends Real {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        if (options?.name === "culm GPU") workers.push(this);
      }
    };
    try {
      const options: LoadOptions = { threads: 1, contextSize: 64 };
      const warnings: string[] = [];
      await using both = await load(small.bytes, {
        ...options,
        gpu: "require",
        gpuPlan: hybrid(small.model, 0.5),
        onWarning: (message) => warnings.push(message),
      });
      await using cpu = await load(small.bytes, options);
      const greedy = async (model: typeof both, loseAt: number) => {
        using sequence = model.engine.createSequence();
        const ids = [7];
        for (let i = 0; i < 12; i++) {
          if (i === loseAt) {
            workers[0].onerror!(new ErrorEvent("error", { message: "gone" }));
          }
          const [row] = await model.engine.evaluate(sequence, ids.slice(-1));
          ids.push(row.indexOf(Math.max(...row)));
        }
        return ids;
      };
      assert.deepEqual(await greedy(both, 5), await greedy(cpu, -1));
      assert.deepEqual(warnings, ["GPU failed: gone; going on with the CPU"]);
    } finally {
      globalThis.Worker = Real;
    }
  },
);

testWithAdapter(
  "a GPU that cannot take its share is one line, and the CPU loads the model",
  async () => {
    // As if the software adapter were a real one, which auto takes.
    const { prototype } = GPUAdapterInfo;
    const real = Object.getOwnPropertyDescriptor(
      prototype,
      "isFallbackAdapter",
    )!;
    Object.defineProperty(prototype, "isFallbackAdapter", {
      configurable: true,
      get: () => false,
    });
    try {
      const warnings: string[] = [];
      await using model = await load(small.bytes, {
        threads: 0,
        contextSize: 64,
        gpu: "auto",
        gpuPlan: firstLayers(small.model, 2, true),
        vramBudget: 100_000 / 2 ** 30,
        onWarning: (message) => warnings.push(message),
      });
      assert.equal(model.engine.gpu, undefined);
      assert.equal(warnings.length, 1);
      assert.match(
        warnings[0],
        /^Cannot hold .*, the budget is 100000; going on with the CPU$/,
      );
      using sequence = model.engine.createSequence();
      assert.equal((await model.engine.evaluate(sequence, [1])).length, 1);
    } finally {
      Object.defineProperty(prototype, "isFallbackAdapter", real);
    }
  },
);

testWithAdapter(
  "a GPU whose memory does not last is given less, until it does",
  async () => {
    const { bytes: file } = await randomModel({
      type: "F16",
      hiddenSize: 256,
      feedForwardSize: 2048,
      downByNeuron: true,
    });
    const memory = 6_000_000;
    const { createBuffer, popErrorScope } = GPUDevice.prototype;
    let bytes = 0;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      bytes += descriptor.size;
      return createBuffer.call(this, descriptor);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const error = await popErrorScope.call(this);
      return error ??
        (bytes > memory ? new GPUOutOfMemoryError("not enough left") : null);
    };
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      bytes = 0;
      return await requestDevice.call(this, descriptor);
    };
    try {
      const warnings: string[] = [];
      const options: LoadOptions = {
        threads: 0,
        contextSize: 64,
        batchSize: 8,
        gpu: "require",
        onWarning: (message) => warnings.push(message),
      };
      await using model = await load(file, options);
      assert(model.engine.gpu!.bytes < memory);
      assert(warnings.length > 0);
      for (const warning of warnings) {
        assert.match(
          warning,
          /^Cannot .* on .*: not enough left; trying \d+ bytes$/,
        );
      }
      await assert.rejects(
        load(file, { ...options, vramBudget: 1 }),
        /^GpuMemoryError: /,
      );
    } finally {
      Object.assign(GPUDevice.prototype, { createBuffer, popErrorScope });
      Object.assign(GPUAdapter.prototype, { requestDevice });
    }
  },
);
