/** Small folders of each kind of model: what becomes of them, and what is refused. */
import assert from "node:assert/strict";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { convert, type ConvertOptions } from "../../src/convert/convert.ts";
import { viewFolder } from "../../src/convert/view.ts";
import { CulmError, FormatError } from "../../src/errors.ts";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { quantise } from "../../src/formats/ggml/quantise.ts";
import { type GgufFile, readGguf } from "../../src/formats/gguf/read.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { describeModel } from "../../src/model/model.ts";
import {
  type FileContent,
  memoryFolder,
  safetensorsFile,
  type TensorOfFile,
} from "../helpers/memory_folder.ts";
import { stateDict } from "../helpers/torch_zip.ts";
import { gaussianVector } from "../helpers/seeded_random.ts";
import { sentencePieceJson } from "./tokenizer_files.ts";

const vocabSize = 262;
const sizes = {
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  vocab_size: vocabSize,
};

type Tensors = Record<string, TensorOfFile>;

function tensor(
  shape: readonly number[],
  dtype: "F32" | "F16" | "BF16" = "BF16",
): TensorOfFile {
  const length = shape.reduce((product, side) => product * side, 1);
  return { dtype, shape, data: quantise(dtype, gaussianVector(length, 3)) };
}

/** The tensors of one layer and what is around it; heads of 8 elements. */
function llamaTensors(): Tensors {
  const layer = (name: string) => `model.layers.0.${name}.weight`;
  return {
    "lm_head.weight": tensor([vocabSize, 32], "F16"),
    "model.embed_tokens.weight": tensor([vocabSize, 32]),
    [layer("input_layernorm")]: tensor([32]),
    [layer("mlp.down_proj")]: tensor([32, 64]),
    [layer("mlp.gate_proj")]: tensor([64, 32]),
    [layer("mlp.up_proj")]: tensor([64, 32], "F32"),
    [layer("post_attention_layernorm")]: tensor([32]),
    [layer("self_attn.q_proj")]: tensor([32, 32]),
    [layer("self_attn.k_proj")]: tensor([16, 32]),
    [layer("self_attn.v_proj")]: tensor([16, 32]),
    [layer("self_attn.o_proj")]: tensor([32, 32]),
    [layer("self_attn.rotary_emb").replace("weight", "inv_freq")]: tensor([4]),
    "model.norm.weight": tensor([32]),
  };
}

function filesOf(
  config: object,
  tensors: Tensors = llamaTensors(),
): Record<string, FileContent> {
  return {
    "config.json": { model_type: "llama", ...sizes, ...config },
    "model.safetensors": safetensorsFile(tensors),
    "tokenizer.json": sentencePieceJson(["a", "b", "ab"], [["a", "b"]]),
  };
}

interface Made {
  readonly file: GgufFile;
  readonly bytes: Uint8Array;
  readonly notes: readonly string[];
}

async function made(
  files: Record<string, FileContent>,
  options: ConvertOptions = { type: "F16" },
): Promise<Made> {
  const result = await convert(memoryFolder(files, "models/a-model/"), options);
  const bytes = await toBuffer(result.chunks());
  await result.close();
  const { notes } = result;
  return { file: await readGguf(fromBuffer(bytes)), bytes, notes };
}

const valueOf = ({ file }: Made, key: string) => file.metadata.get(key)?.value;

Deno.test("Llama: names, order, shapes and hyper-parameters", async () => {
  const llama = await made(
    filesOf({ rms_norm_eps: 1e-5, rope_theta: 1e6, head_dim: 8 }),
  );
  assert.deepEqual([...llama.file.tensors.keys()], [
    "token_embd.weight",
    ...["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"]
      .map((name) => `blk.0.${name}.weight`),
    ...["ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
      .map((name) => `blk.0.${name}.weight`),
    "output_norm.weight",
    "output.weight",
  ]);
  const model = describeModel(llama.file);
  assert.equal(model.name, "a-model");
  assert.equal(model.architecture, "llama");
  assert.equal(model.activation, "swiglu");
  assert.equal(model.kvHeadCount, 2);
  assert.equal(model.rotations[0].base, 1e6);
  assert.equal(model.contextSize, 128);
  assert.deepEqual(model.layers[0].ffn_down?.shape, [64, 32]);
  assert.deepEqual(llama.notes, []);
});

Deno.test("Mistral's window, heads of another size, tied embeddings", async () => {
  const wide = Object.fromEntries(
    Object.entries(llamaTensors()).map(([name, each]) => {
      const rows = name.includes("q_proj") ? 64 : 32;
      if (/[qkv]_proj/.test(name)) return [name, tensor([rows, 32])];
      return [name, name.includes("o_proj") ? tensor([32, 64]) : each];
    }),
  );
  const mistral = await made(filesOf({
    model_type: "mistral",
    head_dim: 16,
    sliding_window: 64,
    tie_word_embeddings: true,
  }, wide));
  const model = describeModel(mistral.file);
  assert.equal(model.attention[0].window, 64);
  assert.equal(model.headSize, 16);
  assert.equal(model.output, model.token_embd);
  const none = await made(filesOf({ sliding_window: null }));
  assert.equal(describeModel(none.file).attention[0].window, undefined);
});

Deno.test("ReluLLaMA and ProSparse say so in both forms; Bamboo need not", async () => {
  const activationOf = async (
    config: object,
    form?: "llama" | "powerinfer",
  ) => {
    const { file, notes } = await made(filesOf(config), { type: "Q4_0", form });
    return [describeModel(file).activation, file.magic, notes.length];
  };
  assert.deepEqual(await activationOf({ hidden_act: "relu" }), [
    "reglu",
    "GGUF",
    0,
  ]);
  assert.deepEqual(
    await activationOf({ hidden_act: "relu" }, "powerinfer"),
    ["reglu", "PWRI", 0],
  );
  const prosparse = {
    model_type: "sparsellama",
    hidden_act: "fatrelu",
    hidden_act_param: 0.01,
  };
  assert.deepEqual(await activationOf(prosparse), ["reglu", "GGUF", 1]);
  const bamboo = { model_type: "bamboo", hidden_act: "relu" };
  assert.deepEqual(await activationOf(bamboo), ["drelu", "GGUF", 0]);
  await assert.rejects(
    made(filesOf({}), { type: "F16", form: "powerinfer" }),
    /PowerInfer's form: neurons of swiglu are not known to be zero/,
  );
});

Deno.test("a file says the activation that it is given, where its architecture can", async () => {
  const activationOf = async (
    config: object,
    activation: ConvertOptions["activation"],
    form?: "powerinfer",
  ) => {
    const { file } = await made(filesOf(config), {
      type: "F16",
      activation,
      form,
    });
    const { activation: kind, gateThreshold } = describeModel(file);
    return [kind, gateThreshold, file.magic];
  };
  assert.deepEqual(
    await activationOf({}, "drelu", "powerinfer"),
    ["drelu", 0, "PWRI"],
  );
  assert.deepEqual(
    await activationOf({}, "fatrelu=0.01"),
    ["reglu", 0.01, "GGUF"],
  );
  assert.deepEqual(
    await activationOf({ hidden_act: "relu" }, "swiglu"),
    ["swiglu", 0, "GGUF"],
  );
  assert.deepEqual(
    await activationOf({ hidden_act: "relu" }, "relu2"),
    ["relu2", 0, "GGUF"],
  );
  await assert.rejects(
    activationOf({ model_type: "bamboo", hidden_act: "relu" }, "reglu"),
    /with activation reglu: files of architecture bamboo cannot say that/,
  );
});

Deno.test("rope scaling: linear, and Llama 3's as factors of the frequencies", async () => {
  const linear = { rope_scaling: { type: "linear", factor: 4 } };
  assert.equal(
    describeModel((await made(filesOf(linear))).file).rotations[0].scale,
    4,
  );
  // In the newer way, all in one object.
  const llama3 = await made(filesOf({
    rope_parameters: {
      rope_type: "llama3",
      rope_theta: 500000,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
  }));
  assert.equal(valueOf(llama3, "llama.rope.freq_base"), 500000);
  const { offset, byteLength } = llama3.file.tensors.get("rope_freqs.weight")!;
  const factors = new Float32Array(4);
  const bytes = llama3.bytes.slice(offset, offset + byteLength);
  dequantise("F32", bytes, factors);
  // Turns within 8,192 positions: 1304, 49, 1.84 and 0.07.
  const turns = 8192 * 500000 ** (-4 / 8) / (2 * Math.PI);
  const share = (turns - 1) / 3;
  const blended = Math.fround(1 / ((1 - share) / 8 + share));
  assert.deepEqual([...factors], [1, 1, blended, 8]);
});

Deno.test("a weight that is not finite is told by its tensor's name", async () => {
  const tensors = llamaTensors();
  const name = "model.layers.0.mlp.gate_proj.weight";
  const data = tensors[name].data.slice();
  data.set([0xff, 0x7f], 200);
  tensors[name] = { ...tensors[name], data };
  await assert.rejects(
    made(filesOf({}, tensors), { type: "Q8_0" }),
    (error) =>
      error instanceof FormatError &&
      /tensor blk\.0\.ffn_gate\.weight of models\/a-model\/: .* is NaN/
        .test(error.message),
  );
});

Deno.test("Qwen2: biases, rows in the order of the folder, a window only where it is used", async () => {
  const tensors = llamaTensors();
  for (const [name, rows] of [["q", 32], ["k", 16], ["v", 16]] as const) {
    tensors[`model.layers.0.self_attn.${name}_proj.bias`] = tensor([rows]);
  }
  const qwen2 = {
    model_type: "qwen2",
    use_sliding_window: false,
    sliding_window: 64,
    max_window_layers: 1,
    tie_word_embeddings: true,
  };
  const result = await made(filesOf(qwen2, tensors), { type: "F32" });
  const { file, bytes } = result;
  const model = describeModel(file);
  assert.equal(model.architecture, "qwen2");
  assert.equal(model.activation, "swiglu");
  assert.equal(model.rope, "half");
  assert.equal(model.attention[0].window, undefined);
  assert.equal(model.output, model.token_embd);
  for (const [name, hub] of [["attn_q", "q_proj"], ["attn_k", "k_proj"]]) {
    for (const kind of ["weight", "bias"]) {
      const { offset, byteLength } = file.tensors.get(`blk.0.${name}.${kind}`)!;
      const { dtype, data } =
        tensors[`model.layers.0.self_attn.${hub}.${kind}`];
      const expected = new Float32Array(byteLength / 4);
      dequantise(dtype as "BF16", data, expected);
      const written = bytes.slice(offset, offset + byteLength);
      assert.deepEqual(new Float32Array(written.buffer), expected);
    }
  }
  const windowed = async (config: object) => {
    const { file } = await made(filesOf({ ...qwen2, ...config }, tensors));
    return describeModel(file).attention[0].window;
  };
  const used = { use_sliding_window: true };
  assert.equal(await windowed(used), undefined);
  assert.equal(await windowed({ ...used, max_window_layers: 0 }), 64);
  const { "model.layers.0.self_attn.v_proj.bias": _, ...incomplete } = tensors;
  await assert.rejects(
    made(filesOf(qwen2, incomplete)),
    /tensor blk\.0\.attn_v\.bias is missing/,
  );
});

Deno.test("biases of queries and keys are moved as the rows of their matrices", async () => {
  const tensors = llamaTensors();
  const numbered = (rows: number, columns: number) =>
    quantise(
      "F32",
      Float32Array.from(
        { length: rows * columns },
        (_, i) => Math.floor(i / columns),
      ),
    );
  const sides = [["attn_q", "q_proj", 32], ["attn_k", "k_proj", 16]] as const;
  for (const [, name, rows] of sides) {
    const hub = `model.layers.0.self_attn.${name}`;
    const dtype = "F32";
    tensors[`${hub}.weight`] = {
      dtype,
      shape: [rows, 32],
      data: numbered(rows, 32),
    };
    tensors[`${hub}.bias`] = { dtype, shape: [rows], data: numbered(rows, 1) };
  }
  const { file, bytes } = await made(filesOf({}, tensors), { type: "F32" });
  for (const [name, , rows] of sides) {
    const read = (gguf: string) => {
      const { offset, byteLength } = file.tensors.get(gguf)!;
      const values = new Float32Array(byteLength / 4);
      dequantise("F32", bytes.subarray(offset, offset + byteLength), values);
      return values;
    };
    const bias = read(`blk.0.${name}.bias`);
    const weights = read(`blk.0.${name}.weight`);
    assert.deepEqual([...bias.subarray(0, 4)], [0, 4, 1, 5]);
    assert.equal(bias.length, rows);
    bias.forEach((value, i) => assert.equal(value, weights[32 * i]));
  }
  assert.equal(describeModel(file).layers[0].attn_q_bias?.type, "F32");
});

Deno.test("weights that PyTorch wrote are those of safetensors", async () => {
  const f32 = Object.fromEntries(
    Object.entries(llamaTensors()).map(([name, { shape }]) => [
      name,
      tensor(shape, "F32"),
    ]),
  );
  const { bytes } = await made(filesOf({}, f32), { type: "F32" });
  const { "model.safetensors": _, ...others } = filesOf({}, f32);
  const one = { ...others, "pytorch_model.bin": stateDict(f32) };
  assert.deepEqual((await made(one, { type: "F32" })).bytes, bytes);
  const [first, ...rest] = Object.entries(f32);
  const parts = {
    "pytorch_model-00001-of-00002.bin": stateDict(Object.fromEntries([first])),
    "pytorch_model-00002-of-00002.bin": stateDict(Object.fromEntries(rest)),
  };
  const two = { ...others, ...parts };
  assert.deepEqual((await made(two, { type: "F32" })).bytes, bytes);
  const weight_map = Object.fromEntries(
    Object.keys(f32).map((name) => [
      name,
      `pytorch_model-0000${name === first[0] ? 1 : 2}-of-00002.bin`,
    ]),
  );
  const indexed = { ...two, "pytorch_model.bin.index.json": { weight_map } };
  assert.deepEqual((await made(indexed, { type: "F32" })).bytes, bytes);
  const view = await viewFolder(memoryFolder(one, "models/a-model/"));
  assert.deepEqual(
    await view.read(0, view.size),
    (await made(one, { type: "F16" })).bytes,
  );
});

Deno.test("a folder of which no header can be made lets go of its files", async () => {
  const files = filesOf({});
  files["tokenizer.json"] = sentencePieceJson(["\ud800"], []);
  const folder = memoryFolder(files);
  let open = 0;
  const counted: typeof folder = {
    ...folder,
    open: async (file) => {
      const source = await folder.open(file);
      open++;
      const close = () => {
        open--;
        return source.close();
      };
      return { ...source, close };
    },
  };
  await assert.rejects(convert(counted, { type: "F16" }), CulmError);
  assert.equal(open, 0);
  await assert.rejects(viewFolder(counted), CulmError);
  assert.equal(open, 0);
});

Deno.test("what culm does not know, or does not fit together, is refused by name", async () => {
  const without = (name: string) => {
    const tensors = llamaTensors();
    delete tensors[name];
    return filesOf({}, tensors);
  };
  const withOne = (name: string, each: TensorOfFile) =>
    filesOf({}, { ...llamaTensors(), [name]: each });
  const query = "model.layers.0.self_attn.q_proj.weight";
  const integers = { dtype: "I8", shape: [32, 32], data: new Uint8Array(1024) };
  const wrong: [Record<string, FileContent>, RegExp][] = [
    [{}, /without config\.json/],
    [{ "config.json": "[]" }, /config\.json: it is no JSON object/],
    [filesOf({ model_type: "gemma" }), /its model_type is "gemma", known are/],
    [filesOf({ model_type: undefined }), /its model_type is missing/],
    [filesOf({ hidden_act: "gelu" }), /its hidden_act is "gelu"/],
    [filesOf({ model_type: "bamboo", hidden_act: "silu" }), /known are relu/],
    [filesOf({ hidden_size: "32" }), /hidden_size is "32", needs a whole/],
    [filesOf({ num_attention_heads: 3 }), /3 heads of 10 elements/],
    [filesOf({ rope_theta: -1 }), /rope_theta is -1/],
    [
      filesOf({ rope_scaling: { type: "dynamic" } }),
      /rope scaling is "dynamic"/,
    ],
    [filesOf({ rope_scaling: 3 }), /rope_scaling is no object/],
    [
      filesOf({
        num_hidden_layers: 3,
        sliding_window: 64,
        max_window_layers: 2,
      }),
      /its max_window_layers is 2 of 3 layers/,
    ],
    [filesOf({ num_hidden_layers: 2 }), /blk\.1\.attn_norm\.weight is missing/],
    [
      filesOf({ num_key_value_heads: 4 }),
      /it has 16 rows, 4 heads of 8 take 32/,
    ],
    [without("model.norm.weight"), /output_norm\.weight is missing/],
    [without("model.embed_tokens.weight"), /token_embd\.weight is missing/],
    [
      filesOf({ model_type: "bamboo" }, {
        ...llamaTensors(),
        "model.layers.0.self_attn.q_proj.bias": tensor([32]),
      }),
      /tensor blk\.0\.attn_q\.bias, which architecture "bamboo" does not have/,
    ],
    [
      withOne("model.layers.0.self_attn.q_proj.scale", tensor([32])),
      /q_proj\.scale.*none of this name/,
    ],
    [
      withOne("model.layers.01.input_layernorm.weight", tensor([32])),
      /none of this name/,
    ],
    [
      withOne(query, integers),
      /q_proj\.weight of .*its type is I8, known are F32/,
    ],
    [withOne(query, tensor([32, 4, 8])), /its shape is \[32, 4, 8\]/],
    [withOne(query, tensor([32, 30])), /shape is \[30, 32\], the model needs/],
    [
      { "config.json": { model_type: "llama", ...sizes } },
      /Cannot find weights/,
    ],
  ];
  for (const [files, message] of wrong) {
    await assert.rejects(
      made(files),
      (error) => {
        assert.ok(error instanceof CulmError, String(error));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
      String(message),
    );
  }
});

Deno.test("a folder of GGUF files says to name one", async () => {
  const files = { "b.gguf": "GGUF", "a.gguf": "GGUF" };
  const message = /without config\.json.*; name a file of it, such as a\.gguf$/;
  await assert.rejects(convert(memoryFolder(files)), message);
  await assert.rejects(viewFolder(memoryFolder(files)), message);
});
