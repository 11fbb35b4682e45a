import assert from "node:assert/strict";
import { doubtOfName, doubtOfStats } from "../../src/load/activation_doubt.ts";
import { load } from "../../src/load/load.ts";
import type { Activation } from "../../src/model/activation.ts";
import type { Model } from "../../src/model/model.ts";
import { LayerCounts, sumCounts } from "../../src/places/stats.ts";
import { randomModel } from "../helpers/random_model.ts";

const of = (activation: Activation, name?: string) =>
  ({ activation, name }) as Model;

Deno.test("a name that speaks of ReLU contradicts a file that says SiLU", () => {
  const odd: [string | undefined, string][] = [
    ["SparseQwen2-7B", "model.gguf"],
    [undefined, "models/prosparse-llama-2-7b.gguf"],
    ["ReluLLaMA-7B", "x.gguf"],
    ["MiniCPM-S-1B-sft", "x.gguf"],
  ];
  for (const [name, file] of odd) {
    const doubt = doubtOfName(of("swiglu", name), file);
    assert.match(doubt!, /its file says swiglu: .*drelu, reglu, fatrelu=VALUE/);
    assert.equal(doubtOfName(of("drelu", name), file), undefined);
    assert.equal(doubtOfName(of("relu2", name), file), undefined);
  }
  const usual: [string | undefined, string][] = [
    ["Qwen2-7B", "relu/qwen2.gguf"],
    ["Sparse-Llama-3.1-8B-2of4", "x.gguf"],
    ["MiniCPM-2B-sft", "minicpm-small.gguf"],
    [undefined, "model.gguf"],
  ];
  for (const [name, file] of usual) {
    assert.equal(doubtOfName(of("swiglu", name), file), undefined, name);
  }
});

Deno.test("products that are nearly all zero are told, where a file says SiLU", () => {
  const stats = (positive: number, neurons = 100_000) => {
    const counts = new LayerCounts(2);
    counts.add(0, "neurons", neurons);
    counts.add(0, "gatePositive", positive);
    return sumCounts([counts], 10);
  };
  assert.match(
    doubtOfStats(of("swiglu"), stats(1200))!,
    /Only 1\.2% of the gates .* nearly all zero, and the file says swiglu/,
  );
  assert.equal(doubtOfStats(of("swiglu"), stats(40_000)), undefined);
  assert.equal(doubtOfStats(of("drelu"), stats(1200)), undefined);
  assert.equal(doubtOfStats(of("geglu"), stats(12, 1000)), undefined);
});

Deno.test("load warns of such a name, unless told the activation", async () => {
  const name = { type: "string", value: "Tiny-ReLU" } as const;
  const { source } = await randomModel({
    architecture: "llama",
    metadata: { "general.name": name },
  });
  const warningsOf = async (activation?: Activation) => {
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    await using model = await load(source, {
      threads: 0,
      gpu: "off",
      activation,
      onWarning,
    });
    assert.equal(model.model.activation, activation ?? "swiglu");
    return warnings;
  };
  assert.match((await warningsOf()).join(), /called Tiny-ReLU/);
  assert.deepEqual(await warningsOf("reglu"), []);
});
