import assert from "node:assert/strict";
import { type CacheType, load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { inspectFile } from "../../cli/commands/inspect/inspection.ts";
import { toJson, toText } from "../../cli/commands/inspect/text.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { entry, type MetadataEntry } from "../../src/formats/gguf/gguf_file.ts";
import { withMetadata } from "../helpers/with_metadata.ts";
import { randomModel } from "../helpers/random_model.ts";
import { writeGpuIndex } from "../../src/plan/gpu_index.ts";
import { runCli } from "./run_cli.ts";
import { inFolder } from "./temp_folder.ts";

const options = {
  contextSize: 0,
  threads: 2,
  batchSize: 128,
  cacheType: "f16" as const,
};

Deno.test("the estimate of weights is what loading takes", async () => {
  for (const type of ["F32", "Q4_0", "Q8_0"] as const) {
    for (const threads of [1, 2]) {
      const { bytes } = await randomModel({
        type,
        predictorRank: 8,
        magic: "PWRI",
        downByNeuron: true,
      });
      const { memory } = await inspectFile(fromBuffer(bytes), {
        ...options,
        threads,
      });
      await using model = await load(bytes, { threads });
      assert.equal(
        memory!.weights,
        model.engine.weightBytes,
        `${type}, ${threads} threads`,
      );
    }
  }
});

Deno.test("the KV cache is counted in whole pages of both keys and values", async () => {
  const at = async (contextSize: number, cacheType: CacheType) =>
    (await inspectFile(tinyBamboo(), { ...options, contextSize, cacheType }))
      .memory!.kvCache;
  // 6 layers, 4 KV heads of 32, key and value.
  const position = 6 * 4 * 32 * 2;
  // 66 bytes hold 32 elements.
  assert.equal(await at(0, "f16"), 512 * position / 32 * 66);
  assert.equal(await at(33, "f32"), 64 * position * 4);
  // 34 bytes hold 32 elements.
  assert.equal(await at(32, "q8_0"), 32 * position / 32 * 34);
});

Deno.test("the text sums tensors up, or lists them", async () => {
  const inspection = await inspectFile(tinyBamboo(), options);
  const summary = toText(inspection, false);
  assert.match(summary, /runs here +yes/);
  assert.match(summary, /bamboo\.embedding_length +uint32 +256/);
  assert.match(
    summary,
    /Q8_0 +44 +tensors +\S+ MiB +kept as I8, +\S+ MiB +on a GPU as Q8_0, +\S+ MiB\n/,
  );
  assert.match(summary, /blk\.0 to blk\.5, each +9 +tensors/);
  assert.doesNotMatch(summary, /blk\.0\.attn_q/);
  assert.match(
    toText(inspection, true),
    /blk\.0\.attn_q\.weight +Q8_0 +\[256, 256\] +69632 +kept as I8, +69632 +on a GPU as Q8_0, +69632\n/,
  );
});

Deno.test("as what weights are kept, and what that takes, is said for each type and tensor", async () => {
  const { bytes } = await randomModel({
    type: "IQ3_S",
    hiddenSize: 256,
    feedForwardSize: 512,
  });
  const inspection = await inspectFile(fromBuffer(bytes), options);
  const { byType, memory } = inspection;
  const [matrices, vectors] = byType;
  assert.deepEqual(
    [matrices.cpu.layout, matrices.gpu.layout, vectors.cpu.layout],
    ["IQ3S", "I8H", "F32"],
  );
  const weights = matrices.parameters;
  assert.equal(matrices.cpu.bytes, weights / 128 * 80);
  assert.equal(matrices.gpu.bytes, weights / 256 * 320);
  // Norms are there for each thread.
  const all = matrices.cpu.bytes + options.threads * vectors.cpu.bytes;
  assert.equal(memory!.weights, all);
  const json = JSON.parse(toJson(inspection));
  const up = json.tensors.find(({ name }: { name: string }) =>
    name === "blk.0.ffn_up.weight"
  );
  assert.deepEqual(up.cpu, { layout: "IQ3S", bytes: 256 * 512 / 128 * 80 });
});

Deno.test("a file of another architecture is shown, and why it cannot run", async () => {
  const bytes = await toBuffer(writeGguf({
    metadata: new Map([
      ["general.architecture", {
        type: "string" as const,
        value: "gpt2\x1b[2J",
      }],
      ["count", { type: "uint64" as const, value: 2n ** 60n }],
      ["nothing", { type: "float32" as const, value: NaN }],
    ]),
    tensors: [{
      name: "w",
      type: "F32",
      shape: [2, 3],
      data: new Uint8Array(24),
    }],
  }));
  const inspection = await inspectFile(fromBuffer(bytes), options);
  const text = toText(inspection, false);
  assert.match(text, /runs here +no: Cannot run architecture/);
  assert.ok(
    !text.includes("\x1b"),
    "control characters of a file do not reach the terminal",
  );
  const json = JSON.parse(toJson(inspection));
  assert.equal(json.runs, false);
  assert.equal(json.metadata.count.value, String(2n ** 60n));
  assert.equal(json.metadata.nothing.value, "NaN");
  assert.deepEqual(json.tensors[0].shape, [2, 3]);
});

Deno.test("the command prints JSON of the embedded model, with no permission", async () => {
  const { code, out, err } = await runCli([
    "inspect",
    "--json",
    "-c",
    "64",
    "-t",
    "1",
  ]);
  assert.deepEqual([code, err], [0, ""]);
  const json = JSON.parse(out);
  assert.deepEqual(
    [
      json.runs,
      json.model.hiddenSize,
      json.memory.contextSize,
      json.memory.threads,
    ],
    [true, 256, 64, 1],
  );
  assert.equal(json.metadata["tokenizer.ggml.tokens"].value.length, 4096);
});

Deno.test("an index of a GPU's neurons is known, not taken for a model", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/model.generated.gpuidx`;
    const layers = [Uint32Array.of(0, 3, 95), new Uint32Array()];
    const index = { capacity: 1 << 20, feedForwardSize: 96, layers };
    await Deno.writeFile(path, writeGpuIndex(index));
    const inspect = ["inspect", "-m", path];
    const permissions = ["--allow-read"];
    const { code, out, err } = await runCli(inspect, { permissions });
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /index of the neurons on a GPU/);
    assert.match(out, /layers +2, of 96 neurons each/);
    assert.match(out, /layer 0 +3 +3\.1 %/);
    assert.match(out, /all +3 +1\.6 %/);
    const json = await runCli([...inspect, "--json"], { permissions });
    assert.deepEqual(JSON.parse(json.out), {
      capacity: 1 << 20,
      feedForwardSize: 96,
      layers: [[0, 3, 95], []],
    });
    await Deno.writeFile(path, new TextEncoder().encode("no index at all"));
    const damaged = await runCli(inspect, { permissions });
    assert.equal(damaged.code, 1);
    assert.match(damaged.err, /^error: .*no GPU index.*\n$/);
  });
});

Deno.test("a file that cannot be run for its tokenizer does not run here", async () => {
  const inspect = async (changes: Record<string, MetadataEntry>) =>
    await inspectFile(await withMetadata(tinyBamboo(), changes), options);
  const other = await inspect({ "tokenizer.ggml.model": entry.text("t5") });
  assert.equal(other.model, undefined);
  assert.match(other.obstacle!, /tokenizer\.ggml\.model "t5" \(Unigram\)/);
  const odd = await inspect({
    "tokenizer.ggml.eos_token_id": entry.whole(1e6),
  });
  assert.ok(odd.model);
  assert.match(
    toText(odd, false),
    /note +tokenizer\.ggml\.eos_token_id is 1000000/,
  );
});
