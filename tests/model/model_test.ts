import assert from "node:assert/strict";
import { FormatError, UnsupportedError } from "../../src/errors.ts";
import type { GgufFile, TensorInfo } from "../../src/formats/gguf/read.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { chooseExperts } from "../../src/model/experts.ts";
import type { HyperParameters } from "../../src/model/hyper_parameters.ts";
import { describeModel } from "../../src/model/model.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";

/** A valid file's header, which a test then spoils. */
async function header(options: RandomModelOptions = {}) {
  const file = await readGguf((await randomModel(options)).source);
  return {
    ...file,
    metadata: new Map(file.metadata),
    tensors: new Map(file.tensors),
  };
}

function set(
  file: Awaited<ReturnType<typeof header>>,
  key: string,
  value: unknown,
) {
  const type = typeof value === "string" ? "string" : "float64";
  file.metadata.set(key, { type, value } as never);
}

function reshape(tensor: TensorInfo, ...shape: number[]): TensorInfo {
  return { ...tensor, shape };
}

Deno.test("a file's activation follows its architecture and form", async () => {
  const activation = async (options: RandomModelOptions) =>
    describeModel(await header(options)).activation;
  assert.equal(await activation({}), "drelu");
  assert.equal(await activation({ architecture: "llama" }), "swiglu");
  assert.equal(
    await activation({ architecture: "llama", magic: "PWRI" }),
    "reglu",
  );
  assert.equal(
    await activation({ architecture: "llama", downByNeuron: true }),
    "reglu",
  );
  const llama = await header({ architecture: "llama" });
  assert.equal(
    describeModel(llama, { activation: "reglu" }).activation,
    "reglu",
  );
  const stated = { relu: "reglu", silu: "swiglu" };
  for (const [act, expected] of Object.entries(stated)) {
    set(llama, "llama.hidden_activation", act);
    assert.equal(describeModel(llama).activation, expected);
  }
  set(llama, "llama.hidden_activation", "gelu");
  assert.throws(() => describeModel(llama), UnsupportedError);
  const chosen = describeModel(llama, { activation: "fatrelu=0.03" });
  assert.deepEqual([chosen.activation, chosen.gateThreshold], ["reglu", 0.03]);
  set(llama, "llama.hidden_activation", "fatrelu=0.01");
  const kept = describeModel(llama);
  assert.deepEqual([kept.activation, kept.gateThreshold], ["reglu", 0.01]);
  for (const wrong of ["fatrelu", "fatrelu=-1", "fatrelu=1e5", "gelu"]) {
    assert.throws(
      () => describeModel(llama, { activation: wrong as "reglu" }),
      /activation .*: it is one of drelu, reglu, relu2, swiglu, geglu, swiglu_oai and fatrelu=VALUE/,
    );
  }
});

Deno.test("a router's scores become weights as each architecture says", async () => {
  const routed = async (architecture: string, keys: HyperParameters = {}) => {
    const { routing } = describeModel(
      await header({ architecture, expertCount: 3, kvHeadCount: 4, keys }),
    );
    const chosen = new Uint32Array(2), weights = new Float64Array(2);
    const scores = Float32Array.of(Math.log(2), Math.log(5), Math.log(3));
    chooseExperts(routing!, scores, chosen, weights);
    return [...chosen, ...Array.from(weights, (w) => Number(w.toFixed(6)))];
  };
  for (const architecture of ["llama", "qwen3moe", "gpt-oss", "smallthinker"]) {
    assert.deepEqual(await routed(architecture), [1, 2, 0.625, 0.375]);
  }
  assert.deepEqual(await routed("olmoe"), [1, 2, 0.5, 0.3]);
  assert.deepEqual(
    await routed("olmoe", { expertScale: 2 }),
    [1, 2, 1, 0.6],
  );
  const sigmoids = [5 / 6, 3 / 4].map((s) => s / (5 / 6 + 3 / 4));
  assert.deepEqual(
    await routed("smallthinker", { expertScoring: 2 }),
    [1, 2, ...sigmoids.map((w) => Number(w.toFixed(6)))],
  );
});

Deno.test("a shared expert is as many as it is wide, which every token chooses", async () => {
  const file = await header({
    architecture: "qwen2moe",
    expertCount: 4,
    sharedExperts: 2,
  });
  const { routing, expertCount, feedForwardSize, layers } = describeModel(file);
  assert.deepEqual([expertCount, feedForwardSize], [6, 6 * 96]);
  const chosen = new Uint32Array(4), weights = new Float64Array(4);
  // Large as they are, the last two take nothing from the others' shares.
  const scores = Float32Array.of(
    0,
    Math.log(5),
    0,
    Math.log(3),
    9,
    Math.log(3),
  );
  chooseExperts(routing!, scores, chosen, weights);
  assert.deepEqual([...chosen], [1, 3, 4, 5]);
  assert.deepEqual(
    Array.from(weights, (w) => Number(w.toFixed(6))),
    [0.5, 0.3, 0.999877, 0.75],
  );
  for (const name of ["ffn_gate", "ffn_up"] as const) {
    assert.deepEqual(layers[1][name]!.shape, [64, 6 * 96]);
  }
  assert.deepEqual(layers[1].ffn_down!.shape, [96, 6 * 64]);
  assert.deepEqual(layers[1].ffn_gate_inp!.shape, [64, 6]);
});

Deno.test("a shared expert that contradicts the others is refused", async () => {
  const refused = async (
    spoil: (file: Awaited<ReturnType<typeof header>>) => void,
    why: RegExp,
  ) => {
    const file = await header({
      architecture: "qwen2moe",
      expertCount: 4,
      sharedExperts: 2,
    });
    spoil(file);
    assert.throws(() => describeModel(file), why);
  };
  const change =
    (own: string, to: object) => (file: Awaited<ReturnType<typeof header>>) => {
      const name = `blk.1.${own}_shexp.weight`;
      file.tensors.set(name, { ...file.tensors.get(name)!, ...to });
    };
  await refused(
    (file) => file.tensors.delete("blk.1.ffn_up_shexp.weight"),
    /tensor blk\.1\.ffn_up_shexp\.weight is missing/,
  );
  await refused(
    change("ffn_down", { shape: [64, 192] }),
    /ffn_down_shexp\.weight: its shape is \[64, 192\], the model needs \[192, 64\]/,
  );
  await refused(
    change("ffn_gate", { type: "F16" }),
    /of another type than the others: blk\.1\.ffn_gate_shexp\.weight is F16, blk\.1\.ffn_gate_exps\.weight F32/,
  );
  await refused(
    (file) => set(file, "qwen2moe.expert_shared_feed_forward_length", 100),
    /a shared expert of 100 neurons, which is no multiple of the 96 of the others/,
  );
});

Deno.test("of equal scores the first expert is chosen, and NaN comes to light", () => {
  const routing = {
    used: 2,
    scoring: "softmax",
    isNormalised: true,
    scale: 1,
  } as const;
  const chosen = new Uint32Array(2), weights = new Float64Array(2);
  chooseExperts(routing, Float32Array.of(1, 1, 1, 1), chosen, weights);
  assert.deepEqual([...chosen], [0, 1]);
  chooseExperts(routing, Float32Array.of(3, 1, NaN, 2), chosen, weights);
  assert.deepEqual([...chosen], [0, 2]);
  assert(weights.every(Number.isNaN));
});

Deno.test("a mixture of experts that contradicts itself is refused", async () => {
  const options = { architecture: "qwen3moe", expertCount: 4 };
  const spoilt = async (
    spoil: (file: Awaited<ReturnType<typeof header>>) => void,
    from: RandomModelOptions = options,
  ) => {
    const file = await header(from);
    spoil(file);
    return () => describeModel(file);
  };
  assert.throws(
    await spoilt((file) => set(file, "qwen3moe.expert_count", 5)),
    /blk\.0\.ffn_gate_exps\.weight: its shape is \[64, 96, 4\], the model has 5 experts/,
  );
  assert.throws(
    await spoilt((file) => set(file, "qwen3moe.expert_used_count", 5)),
    /expert_used_count 5, of 4 experts/,
  );
  assert.throws(
    await spoilt((file) => {
      set(file, "qwen3moe.leading_dense_block_count", 1);
      file.tensors.delete("blk.0.ffn_gate_inp.weight");
    }),
    {
      name: "UnsupportedError",
      message:
        "Cannot run a mixture of experts whose first layers are dense (leading_dense_block_count is 1)",
    },
  );
  const none = await header(options);
  set(none, "qwen3moe.leading_dense_block_count", 0);
  describeModel(none);
  assert.throws(
    await spoilt((file) => set(file, "qwen3moe.expert_count", 0)),
    /expert_count is 0, architecture "qwen3moe" has several/,
  );
  assert.throws(
    await spoilt((file) => file.tensors.delete("blk.1.ffn_up_exps.weight")),
    /tensor blk\.1\.ffn_up_exps\.weight is missing/,
  );
  assert.throws(
    await spoilt(
      (file) => set(file, "qwen3.expert_count", 4),
      { architecture: "qwen3" },
    ),
    /architecture "qwen3" as a mixture of experts \(expert_count is 4\)/,
  );
  assert.throws(
    await spoilt(
      (file) => set(file, "smallthinker.expert_gating_func", 4),
      { architecture: "smallthinker", expertCount: 4 },
    ),
    /expert_gating_func 4 \(1, 2, 3 are\)/,
  );
  assert.throws(
    await spoilt((file) =>
      file.tensors.set(
        "blk.0.ffn_up.weight",
        file.tensors.get("blk.0.ffn_up_exps.weight")!,
      )
    ),
    /blk\.0\.ffn_up\.weight both for experts and without/,
  );
});

Deno.test("output is the embedding where the file has none of its own", async () => {
  const tied = describeModel(await header({ tied: true }));
  assert.equal(tied.output, tied.token_embd);
  const own = describeModel(await header());
  assert.equal(own.output.name, "output.weight");
});

Deno.test("an unknown architecture gets an error that lists the known ones", async () => {
  const file = await header();
  set(file, "general.architecture", "mamba");
  assert.throws(() => describeModel(file), (error: Error) => {
    assert(error instanceof UnsupportedError);
    assert.match(error.message, /"mamba".*bamboo, llama, qwen2/);
    return true;
  });
});

Deno.test("an unknown architecture's error says what is new in it", async () => {
  const file = await header();
  set(file, "general.architecture", "mamba");
  const tensor = file.tensors.get("blk.0.attn_q.weight")!;
  for (const name of ["ssm_in.weight", "ssm_a", "attn_qkv.weight"]) {
    file.tensors.set(`blk.0.${name}`, tensor);
    file.tensors.set(`blk.1.${name}`, tensor);
  }
  assert.throws(() => describeModel(file), /; new in this one: ssm_in, ssm_a$/);
  for (let i = 0; i < 5; i++) file.tensors.set(`extra${i}`, tensor);
  assert.throws(
    () => describeModel(file),
    /ssm_in, ssm_a, extra0, extra1, extra2 and 2 more$/,
  );
});

Deno.test("old keys of scaling, a factor without a type, and a factor of 0", async () => {
  const scaleOf = async (
    keys: Record<string, unknown>,
  ): Promise<number | undefined> => {
    const file = await header({ architecture: "llama" });
    for (const [key, value] of Object.entries(keys)) {
      set(file, `llama.rope.${key}`, value);
    }
    return describeModel(file).rotations[0].scale;
  };
  assert.equal(await scaleOf({}), 1);
  assert.equal(await scaleOf({ scale_linear: 4 }), 4);
  assert.equal(await scaleOf({ "scaling.factor": 4 }), 4);
  assert.equal(await scaleOf({ "scaling.factor": 4, scale_linear: 2 }), 4);
  assert.equal(await scaleOf({ "scaling.factor": 0 }), 1);
  assert.equal(await scaleOf({ "scaling.factor": 0, scale_linear: 2 }), 1);
  assert.equal(await scaleOf({ "scaling.type": "none", scale_linear: 4 }), 1);
  await assert.rejects(scaleOf({ "scaling.factor": -1 }), FormatError);
});

Deno.test("sizes may be lists of equal numbers", async () => {
  const file = await header({ architecture: "llama", layerCount: 3 });
  const list = (key: string, ...values: number[]) =>
    file.metadata.set(key, {
      type: "array",
      value: { elementType: "uint32", values: Uint32Array.from(values) },
    });
  list("llama.attention.head_count", 4, 4, 4);
  list("llama.attention.head_count_kv", 2, 2, 2);
  list("llama.feed_forward_length", 96, 96, 96);
  const model = describeModel(file);
  assert.deepEqual(
    [model.headCount, model.kvHeadCount, model.feedForwardSize],
    [4, 2, 96],
  );
  list("llama.attention.head_count_kv", 2, 2, 4);
  assert.throws(
    () => describeModel(file),
    (error) =>
      error instanceof UnsupportedError &&
      /head_count_kv that differs from layer to layer, 2 and 4/
        .test(error.message),
  );
});

Deno.test("tensors of several parts are read as these, or refused", async () => {
  const phi = { architecture: "phi3", fused: true, layerCount: 1 };
  const fused = describeModel(await header(phi)).layers[0];
  const { fused: _, ...separate } = phi;
  const plain = describeModel(await header(separate)).layers[0];
  for (
    const name of ["attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"] as const
  ) {
    const [own, other] = [fused[name]!, plain[name]!];
    assert.deepEqual([own.name, own.shape, own.byteLength], [
      other.name,
      other.shape,
      other.byteLength,
    ]);
  }
  assert.equal(
    fused.attn_k.offset - fused.attn_q.offset,
    fused.attn_q.byteLength,
  );
  assert.equal(
    fused.ffn_up.offset - fused.ffn_gate!.offset,
    fused.ffn_gate!.byteLength,
  );
  const file = await header(phi);
  const name = "blk.0.attn_qkv.weight";
  file.tensors.set(name, reshape(file.tensors.get(name)!, 64, 127));
  assert.throws(
    () => describeModel(file),
    /attn_qkv\.weight: its shape is \[64, 127\], the model needs 64 \+ 32 \+ 32 rows/,
  );
});

Deno.test("what every object has is no architecture", async () => {
  for (const name of ["constructor", "__proto__", "toString"]) {
    const file = await header();
    set(file, "general.architecture", name);
    assert.throws(() => describeModel(file), (error: Error) => {
      assert(error instanceof UnsupportedError, String(error));
      assert(error.message.includes(`Cannot run architecture "${name}"`));
      return true;
    });
  }
});

type Spoil = (file: Awaited<ReturnType<typeof header>>) => void;
const contradictions: [string, Spoil, RegExp, RandomModelOptions?][] = [
  [
    "a missing key",
    (file) => file.metadata.delete("bamboo.embedding_length"),
    /bamboo\.embedding_length is missing/,
  ],
  [
    "a fractional size",
    (file) => set(file, "bamboo.block_count", 1.5),
    /block_count is 1\.5/,
  ],
  [
    "a size of zero",
    (file) => set(file, "bamboo.attention.head_count", 0),
    /head_count is 0/,
  ],
  [
    "a huge block count",
    (file) => set(file, "bamboo.block_count", 2 ** 40),
    /block_count 1099511627776, the limit is 4096/,
  ],
  [
    "heads that do not share evenly",
    (file) => set(file, "bamboo.attention.head_count_kv", 3),
    /head_count 4 is no multiple of head_count_kv 3/,
  ],
  [
    "a rotation wider than the head",
    (file) => set(file, "bamboo.rope.dimension_count", 32),
    /rope\.dimension_count 32 does not fit heads of 16/,
  ],
  [
    "a missing tensor",
    (file) => file.tensors.delete("blk.1.ffn_up.weight"),
    /tensor blk\.1\.ffn_up\.weight is missing/,
  ],
  [
    "no form of down",
    (file) => file.tensors.delete("blk.0.ffn_down.weight"),
    /needs one of blk\.0\.ffn_down\.weight and .*, has neither/,
  ],
  [
    "a shape that the sizes do not give",
    (file) => {
      const name = "blk.0.attn_q.weight";
      file.tensors.set(name, reshape(file.tensors.get(name)!, 64, 63));
    },
    /attn_q\.weight: its shape is \[64, 63\], the model needs \[64, 64\]/,
  ],
  [
    "a vocabulary of another size",
    (file) =>
      file.metadata.set("tokenizer.ggml.tokens", {
        type: "array",
        value: { elementType: "string", values: ["a", "b"] },
      }),
    /the vocabulary has 2 tokens, token_embd\.weight has 96 rows/,
  ],
  [
    "a predictor of two ranks",
    (file) => {
      const name = "blk.0.fc2.weight";
      file.tensors.set(name, reshape(file.tensors.get(name)!, 5, 96));
    },
    /blk\.0\.fc1\.weight has rank 8, blk\.0\.fc2\.weight has 5/,
    { predictorRank: 8 },
  ],
];
for (const [what, spoil, message, options] of contradictions) {
  Deno.test(`a file with ${what} is refused`, async () => {
    const file = await header(options);
    spoil(file);
    assert.throws(() => describeModel(file as GgufFile), (error: Error) => {
      assert(error instanceof FormatError, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

const unsupported: [string, Spoil, RegExp][] = [
  [
    "experts",
    (file) => set(file, "bamboo.expert_count", 8),
    /as a mixture of experts \(expert_count is 8\)/,
  ],
  [
    "a scaling of positions that there is not",
    (file) => set(file, "bamboo.rope.scaling.type", "dynamic"),
    /rope scaling of type "dynamic"/,
  ],
  [
    "a tensor that would be left out",
    (file) => {
      const tensor = file.tensors.get("blk.0.attn_q.weight")!;
      file.tensors.set("blk.0.attn_q.bias", tensor);
    },
    /tensor blk\.0\.attn_q\.bias/,
  ],
  [
    "norms that are not F32",
    (file) => {
      const name = "output_norm.weight";
      file.tensors.set(name, { ...file.tensors.get(name)!, type: "F16" });
    },
    /output_norm\.weight of type F16/,
  ],
];
for (const [what, spoil, message] of unsupported) {
  Deno.test(`a file with ${what} is refused as not supported`, async () => {
    const file = await header();
    spoil(file);
    assert.throws(() => describeModel(file as GgufFile), (error: Error) => {
      assert(error instanceof UnsupportedError, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}
