/**
 * A folder of each family, made of a random model's weights by the names that
 * Hugging Face's checkpoints have: converted, it is that model again. Names and
 * keys are those that llama.cpp's converter maps.
 */
import assert from "node:assert/strict";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { convert } from "../../src/convert/convert.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import type { HyperParameters } from "../../src/model/hyper_parameters.ts";
import { describeModel, type Model } from "../../src/model/model.ts";
import {
  memoryFolder,
  safetensorsFile,
  type TensorOfFile,
} from "../helpers/memory_folder.ts";
import {
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { sentencePieceJson } from "./tokenizer_files.ts";

const sizes = {
  hiddenSize: 48,
  feedForwardSize: 40,
  headCount: 4,
  kvHeadCount: 2,
  headSize: 16,
  vocabSize: 262,
  layerCount: 2,
};

/** Hugging Face's names in a layer, by GGUF's. */
const usual: Record<string, string> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const behind = {
  post_attention_norm: "post_attention_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
};
const gemma = { ...behind, ffn_norm: "pre_feedforward_layernorm" };

interface FamilyCase {
  readonly model: RandomModelOptions;
  /** Of `config.json`, beside the sizes */
  readonly config: Record<string, unknown>;
  readonly names?: Record<string, string>;
  /** What is added to norms when they are converted */
  readonly normOffset?: number;
  /** Whether rows of heads are moved */
  readonly moves?: boolean;
  /** What stands before every name */
  readonly prefix?: string;
}

const gemmaConfig = {
  hidden_activation: "gelu_pytorch_tanh",
  query_pre_attn_scalar: 16,
};
const yarn = {
  type: "yarn",
  factor: 4,
  original_max_position_embeddings: 64,
  beta_fast: 16,
};
const long = Array.from({ length: 8 }, (_, i) => 2 + i / 10);
const short = long.map((each) => each / 2);

/** Names of experts' tensors, N being the expert. */
const mixtralNames = {
  ffn_gate_inp: "block_sparse_moe.gate",
  ffn_gate_exps: "block_sparse_moe.experts.N.w1",
  ffn_down_exps: "block_sparse_moe.experts.N.w2",
  ffn_up_exps: "block_sparse_moe.experts.N.w3",
};
const mlpExperts = {
  ffn_gate_inp: "mlp.gate",
  ffn_gate_exps: "mlp.experts.N.gate_proj",
  ffn_down_exps: "mlp.experts.N.down_proj",
  ffn_up_exps: "mlp.experts.N.up_proj",
};

const families: Record<string, FamilyCase> = {
  llama: {
    model: {
      keys: {
        ropeScaling: "yarn",
        ropeScale: 4,
        originalContextSize: 64,
        yarnBetaFast: 16,
      },
    },
    config: { rope_scaling: yarn },
    moves: true,
  },
  qwen3: { model: { tied: true }, config: { tie_word_embeddings: true } },
  gemma2: {
    model: {
      tied: true,
      keys: { slidingWindow: 32, scoreCap: 20, logitCap: 15 },
    },
    config: {
      ...gemmaConfig,
      sliding_window: 32,
      attn_logit_softcapping: 20,
      final_logit_softcapping: 15,
    },
    names: gemma,
    normOffset: 1,
  },
  gemma3_text: {
    model: {
      architecture: "gemma3",
      tied: true,
      keys: {
        slidingWindow: 512,
        ropeBase: 1e6,
        windowedRopeBase: 20000,
        ropeScaling: "linear",
        ropeScale: 8,
        attentionScale: 1 / 8,
      },
    },
    config: {
      ...gemmaConfig,
      query_pre_attn_scalar: 64,
      sliding_window: 512,
      rope_theta: 1e6,
      rope_local_base_freq: 20000,
      rope_scaling: { rope_type: "linear", factor: 8 },
    },
    names: gemma,
    normOffset: 1,
  },
  gemma3: {
    model: {
      tied: true,
      keys: { slidingWindow: 64, windowPattern: [true, false], ropeBase: 1e6 },
    },
    config: {
      text_config: {
        ...gemmaConfig,
        sliding_window: 64,
        layer_types: ["sliding_attention", "full_attention"],
        rope_parameters: {
          full_attention: { rope_type: "default", rope_theta: 1e6 },
          sliding_attention: { rope_type: "default", rope_theta: 10000 },
        },
      },
    },
    names: gemma,
    normOffset: 1,
    prefix: "language_model.",
  },
  phi3: {
    model: {
      fused: true,
      keys: { ropeScaling: "longrope", originalContextSize: 64 },
      longRope: 64,
    },
    config: {
      original_max_position_embeddings: 64,
      rope_scaling: {
        type: "longrope",
        long_factor: long,
        short_factor: short,
      },
    },
    names: { attn_qkv: "self_attn.qkv_proj", ffn_up: "mlp.gate_up_proj" },
  },
  smollm3: {
    model: {},
    config: { no_rope_layers: [1, 1], use_sliding_window: false },
    moves: true,
  },
  granite: {
    model: {
      keys: {
        attentionScale: 0.1,
        embeddingScale: 6,
        residualScale: 0.4,
        logitScale: 4,
      },
    },
    config: {
      attention_multiplier: 0.1,
      embedding_multiplier: 6,
      residual_multiplier: 0.4,
      logits_scaling: 4,
    },
    moves: true,
  },
  minicpm: {
    model: {
      keys: {
        embeddingScale: 12,
        residualScale: 1.4 / Math.sqrt(2),
        logitScale: 3,
        activation: "fatrelu=0.03",
      },
    },
    config: {
      scale_emb: 12,
      scale_depth: 1.4,
      dim_model_base: 16,
      hidden_act: "fatrelu",
      hidden_act_param: 0.03,
    },
    moves: true,
  },
  olmo2: { model: {}, config: {}, names: behind },
  olmo3: {
    model: {
      architecture: "olmo2",
      keys: { slidingWindow: 64, windowPattern: [true, true] },
    },
    config: { sliding_window: 64 },
    names: behind,
  },
  exaone4: { model: {}, config: { sliding_window: null }, names: behind },
  arcee: { model: {}, config: { hidden_act: "relu2" }, moves: true },
  nemotron: {
    model: { keys: { rmsEpsilon: undefined, layerEpsilon: 1e-5, ropeSize: 8 } },
    config: { partial_rotary_factor: 0.5, norm_eps: 1e-5 },
    normOffset: 1,
  },
  ministral3: {
    model: {
      architecture: "mistral3",
      keys: {
        ropeScaling: "yarn",
        ropeScale: 4,
        originalContextSize: 64,
        yarnBetaFast: 16,
        yarnLogMultiplier: 0.5,
        temperatureScale: 0.1,
      },
    },
    config: {
      rope_parameters: {
        ...yarn,
        rope_theta: 10000,
        mscale_all_dim: 0.5,
        llama_4_scaling_beta: 0.1,
      },
    },
    moves: true,
  },
  mixtral: {
    model: { architecture: "llama", expertCount: 4 },
    config: { num_local_experts: 4, num_experts_per_tok: 2 },
    names: mixtralNames,
    moves: true,
  },
  turbosparsemixtral: {
    model: { expertCount: 3, predictorRank: 12, downByNeuron: true },
    config: { num_local_experts: 3, hidden_act: "relu" },
    names: {
      ...mixtralNames,
      ffn_down_t_exps: "block_sparse_moe.experts.N.w2",
      fc1_exps: "block_sparse_moe.experts.N.predictor.fc1",
      fc2_exps: "block_sparse_moe.experts.N.predictor.fc2",
    },
    moves: true,
  },
  qwen3_moe: {
    model: { architecture: "qwen3moe", expertCount: 4, usedExperts: 3 },
    config: {
      num_experts: 4,
      num_experts_per_tok: 3,
      norm_topk_prob: true,
      intermediate_size: 99,
      moe_intermediate_size: sizes.feedForwardSize,
    },
    names: mlpExperts,
  },
  qwen2_moe: {
    model: {
      architecture: "qwen2moe",
      biases: true,
      expertCount: 4,
      sharedExperts: 3,
    },
    config: {
      num_experts: 4,
      num_experts_per_tok: 2,
      norm_topk_prob: false,
      intermediate_size: 99,
      moe_intermediate_size: sizes.feedForwardSize,
      shared_expert_intermediate_size: 3 * sizes.feedForwardSize,
    },
    names: {
      ...mlpExperts,
      ffn_gate_inp_shexp: "mlp.shared_expert_gate",
      ffn_gate_shexp: "mlp.shared_expert.gate_proj",
      ffn_up_shexp: "mlp.shared_expert.up_proj",
      ffn_down_shexp: "mlp.shared_expert.down_proj",
    },
  },
  olmoe: {
    model: { expertCount: 4 },
    config: { num_experts: 4, num_experts_per_tok: 2, norm_topk_prob: false },
    names: mlpExperts,
  },
  smallthinker: {
    model: {
      expertCount: 4,
      keys: { expertScoring: 2, slidingWindow: 4096 },
    },
    config: {
      intermediate_size: undefined,
      moe_ffn_hidden_size: sizes.feedForwardSize,
      moe_num_primary_experts: 4,
      moe_num_active_primary_experts: 2,
      moe_primary_router_apply_softmax: false,
      sliding_window_size: 4096,
      sliding_window_layout: [0, 1],
      rope_layout: [0, 1],
    },
    names: {
      ffn_gate_inp: "block_sparse_moe.primary_router",
      ffn_gate_exps: "block_sparse_moe.experts.N.gate",
      ffn_down_exps: "block_sparse_moe.experts.N.down",
      ffn_up_exps: "block_sparse_moe.experts.N.up",
    },
  },
};

/** Rows as columns. */
function turned(values: Float32Array, columns: number): Float32Array {
  const rows = values.length / columns;
  return Float32Array.from(
    { length: values.length },
    (_, i) => values[i % rows * columns + Math.floor(i / rows)],
  );
}

/** Where row i of a head lies in Hugging Face's order, of `size` rows. */
function hubRow(row: number, size: number): number {
  const within = row % size;
  return row - within + (within >> 1) + (within & 1) * (size / 2);
}

function numbersOf(bytes: Uint8Array, offset: number, length: number) {
  return new Float32Array(bytes.slice(offset, offset + length).buffer);
}

/** The tensors of a checkpoint. */
async function checkpointOf(
  bytes: Uint8Array<ArrayBuffer>,
  { names, normOffset = 0, moves, prefix = "" }: FamilyCase,
): Promise<Record<string, TensorOfFile>> {
  const { tensors } = await readGguf(fromBuffer(bytes));
  const outer: Record<string, string> = {
    token_embd: "model.embed_tokens",
    output_norm: "model.norm",
    output: "lm_head",
  };
  const all: Record<string, TensorOfFile> = {};
  for (const { name, shape, offset, byteLength } of tensors.values()) {
    const [, layer, own, kind] = name.match(
      /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/,
    )!;
    const inLayer = { ...usual, ...names }[own];
    if (own.startsWith("rope_factors")) continue;
    const hub = layer === undefined
      ? outer[own]
      : `model.layers.${layer}.${inLayer}`;
    const values = numbersOf(bytes, offset, byteLength);
    const isNorm = /norm$/.test(own) && kind === "weight";
    if (own.endsWith("_exps")) {
      const [columns, rows, count] = shape;
      const isTurned = own === "ffn_down_t_exps";
      for (let expert = 0; expert < count; expert++) {
        const length = columns * rows;
        const each = values.slice(expert * length, (expert + 1) * length);
        all[`${prefix}${hub.replace("N", `${expert}`)}.${kind}`] = {
          dtype: "F32",
          shape: isTurned ? [columns, rows] : [rows, columns],
          data: new Uint8Array(
            (isTurned ? turned(each, columns) : each).buffer,
          ),
        };
      }
      continue;
    }
    const rows = shape.at(-1)!, width = values.length / rows;
    const moved = values.slice();
    if (moves && (own === "attn_q" || own === "attn_k")) {
      for (let row = 0; row < rows; row++) {
        const from = row * width;
        moved.set(
          values.subarray(from, from + width),
          hubRow(row, sizes.headSize) * width,
        );
      }
    }
    if (isNorm) moved.forEach((value, i) => moved[i] = value - normOffset);
    all[`${prefix}${hub}.${kind}`] = {
      dtype: "F32",
      shape: shape.toReversed(),
      data: new Uint8Array(moved.buffer),
    };
  }
  return all;
}

/** What a model is, beside its tensors. */
function traitsOf(model: Model): Partial<Model> {
  const { layers: _layers, token_embd: _embd, output: _output, ...rest } =
    model;
  const { output_norm: _norm, output_norm_bias: _bias, name: _name, ...own } =
    rest;
  const { rope_factors_long: _long, rope_factors_short: _short, ...traits } =
    own;
  return traits;
}

for (const [type, family] of Object.entries(families)) {
  Deno.test(`${type}: a folder becomes the model that it was made of`, async () => {
    const { model, bytes } = await randomModel({
      architecture: type,
      ...sizes,
      ...family.model,
      keys: { contextSize: 256, ...family.model.keys } as HyperParameters,
    });
    const tensors = await checkpointOf(bytes, family);
    const folder = memoryFolder({
      "config.json": {
        model_type: type,
        hidden_size: sizes.hiddenSize,
        intermediate_size: sizes.feedForwardSize,
        num_hidden_layers: sizes.layerCount,
        num_attention_heads: sizes.headCount,
        num_key_value_heads: sizes.kvHeadCount,
        head_dim: sizes.headSize,
        max_position_embeddings: 256,
        rms_norm_eps: 1e-5,
        vocab_size: sizes.vocabSize,
        ...family.config,
      },
      "model.safetensors": safetensorsFile({
        ...tensors,
        ...(family.prefix
          ? {
            "vision_tower.embeddings.weight": {
              dtype: "F32",
              shape: [1],
              data: new Uint8Array(4),
            },
          }
          : {}),
      }),
      "tokenizer.json": sentencePieceJson(["a", "b", "ab"], [["a", "b"]]),
    });
    const result = await convert(folder, { type: "F32" });
    const converted = await toBuffer(result.chunks());
    await result.close();
    const file = await readGguf(fromBuffer(converted));
    const again = describeModel(file);
    const expected: Record<string, unknown> = { ...traitsOf(model) };
    const actual = traitsOf(again);
    if (type === "phi3") {
      // Longrope's own: sqrt(1 + ln 4 / ln 64).
      const magnitude = Math.fround(Math.sqrt(1 + Math.log(4) / Math.log(64)));
      const [rotation] = model.rotations;
      expected.rotations = [{ ...rotation, magnitude }];
      expected.parameterCount = again.parameterCount;
    }
    assert.deepEqual(actual, expected);
    const own = await readGguf(fromBuffer(bytes));
    for (const { name, offset, byteLength } of own.tensors.values()) {
      const there = file.tensors.get(name);
      assert(there, `${name} is missing`);
      if (name.startsWith("rope_factors")) continue;
      const before = numbersOf(bytes, offset, byteLength);
      const after = numbersOf(converted, there.offset, there.byteLength);
      assert.equal(after.length, before.length, name);
      after.forEach((value, i) =>
        assert(Math.abs(value - before[i]) < 1e-6, `${name}, ${i}`)
      );
    }
    if (type === "phi3") {
      const { offset, byteLength } = file.tensors.get(
        "rope_factors_long.weight",
      )!;
      assert.deepEqual(
        [...numbersOf(converted, offset, byteLength)],
        long.map(Math.fround),
      );
    }
    assert.equal(
      result.notes.length,
      type === "minicpm" || type === "gemma3" ? 1 : 0,
    );
  });
}

Deno.test("an expert that is missing is told of", async () => {
  const { bytes } = await randomModel({
    architecture: "llama",
    ...sizes,
    expertCount: 3,
  });
  const { mixtral } = families;
  const tensors = await checkpointOf(bytes, mixtral);
  delete tensors["model.layers.1.block_sparse_moe.experts.2.w3.weight"];
  const folder = memoryFolder({
    "config.json": {
      model_type: "mixtral",
      hidden_size: sizes.hiddenSize,
      intermediate_size: sizes.feedForwardSize,
      num_hidden_layers: sizes.layerCount,
      num_attention_heads: sizes.headCount,
      num_key_value_heads: sizes.kvHeadCount,
      head_dim: sizes.headSize,
      num_local_experts: 3,
    },
    "model.safetensors": safetensorsFile(tensors),
    "tokenizer.json": sentencePieceJson(["a", "b", "ab"], [["a", "b"]]),
  });
  await assert.rejects(
    convert(folder),
    /2 experts have ffn_up in layer 1, config\.json says that there are 3/,
  );
});

Deno.test("BitNet's weights are written as -1, 0 or 1 times their mean size", async () => {
  const { bytes } = await randomModel({
    architecture: "bitnet",
    ...sizes,
    headSize: 12,
    tied: true,
    keys: { activation: "relu2" },
  });
  const names = {
    attn_sub_norm: "self_attn.attn_sub_norm",
    ffn_sub_norm: "mlp.ffn_sub_norm",
  };
  const tensors = await checkpointOf(bytes, { model: {}, config: {}, names });
  const folder = memoryFolder({
    "config.json": {
      model_type: "bitnet",
      hidden_size: sizes.hiddenSize,
      intermediate_size: sizes.feedForwardSize,
      num_hidden_layers: sizes.layerCount,
      num_attention_heads: sizes.headCount,
      num_key_value_heads: sizes.kvHeadCount,
      hidden_act: "relu2",
      tie_word_embeddings: true,
    },
    "model.safetensors": safetensorsFile(tensors),
    "tokenizer.json": sentencePieceJson(["a", "b", "ab"], [["a", "b"]]),
  });
  const result = await convert(folder, { type: "F32" });
  const converted = await toBuffer(result.chunks());
  await result.close();
  const file = await readGguf(fromBuffer(converted));
  assert.equal(describeModel(file).activation, "relu2");
  const own = await readGguf(fromBuffer(bytes));
  for (const { name, offset, byteLength, shape } of own.tensors.values()) {
    const there = file.tensors.get(name)!;
    const before = numbersOf(bytes, offset, byteLength);
    const after = numbersOf(converted, there.offset, there.byteLength);
    if (shape.length === 1 || name === "token_embd.weight") {
      assert.deepEqual(after, before, name);
      continue;
    }
    const mean = before.reduce((sum, each) => sum + Math.abs(each), 0) /
      before.length;
    before.forEach((weight, i) => {
      const unit = Math.max(-1, Math.min(1, Math.round(weight / mean)));
      assert(Math.abs(after[i] - unit * mean) < 1e-6, `${name}, ${i}`);
    });
  }
});
