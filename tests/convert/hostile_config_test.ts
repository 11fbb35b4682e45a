/** Values that no config has: each is taken for what it says, or refused in one line that names its key. */
import assert from "node:assert/strict";
import { readConfig } from "../../src/convert/config.ts";
import { families } from "../../src/convert/families.ts";
import { CulmError, FormatError } from "../../src/errors.ts";
import type { JsonObject } from "../../src/formats/json.ts";

const sizes = {
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 6,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  original_max_position_embeddings: 64,
  vocab_size: 262,
  num_experts: 4,
  num_local_experts: 4,
  num_experts_per_tok: 2,
  moe_intermediate_size: 64,
  shared_expert_intermediate_size: 128,
  moe_num_primary_experts: 4,
  moe_num_active_primary_experts: 2,
  moe_ffn_hidden_size: 64,
};

const scaling = (type: string) => ({
  rope_type: type,
  factor: 4,
  original_max_position_embeddings: 64,
  long_factor: [1, 2, 3, 4],
  short_factor: [1, 2, 3, 4],
});

const hostile: readonly unknown[] = [
  ...[null, true, false, 0, -1, 0.5, 3, 1e9, 1e300, 2 ** 53],
  ...["", "x", "4", "\u001b[2J\n", "constructor", "__proto__"],
  ...[[], [1], [null, {}], ["sliding_attention"], {}, { rope_type: 7 }],
  ...["default", "linear", "yarn", "llama3", "longrope", "dynamic"]
    .map(scaling),
  { ...scaling("longrope"), long_factor: "x" },
  { ...scaling("yarn"), factor: "4", beta_fast: null },
  { ...scaling("yarn"), factor: 1e-9, attention_factor: 1e29 },
  { full_attention: 7 },
  { full_attention: null, sliding_attention: [] },
  { text_config: null },
];

const keys = [
  ...Object.keys(sizes),
  ...["model_type", "architectures", "head_dim", "rms_norm_eps", "norm_eps"],
  ...["rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq"],
  ...["partial_rotary_factor", "hidden_act", "hidden_activation"],
  ...["hidden_act_param", "sliding_window", "use_sliding_window"],
  ...["max_window_layers", "layer_types", "sliding_window_pattern"],
  ...["_sliding_window_pattern", "no_rope_layers", "query_pre_attn_scalar"],
  ...["attn_logit_softcapping", "final_logit_softcapping"],
  ...["attention_multiplier", "embedding_multiplier", "residual_multiplier"],
  ...["logits_scaling", "scale_emb", "scale_depth", "dim_model_base"],
  ...["tie_word_embeddings", "norm_topk_prob"],
  ...["moe_primary_router_apply_softmax", "sliding_window_layout"],
  ...["sliding_window_size", "rope_layout"],
];

/** What the header would say, or nothing where the config is refused. */
function read(json: JsonObject): ReturnType<typeof readConfig> | undefined {
  try {
    return readConfig(json, "config.json");
  } catch (error) {
    assert(
      error instanceof CulmError,
      `${JSON.stringify(json)}: ${(error as Error).stack}`,
    );
    assert.match(error.message, /^[^\p{Cc}]{10,1000}$/u);
    return undefined;
  }
}

for (const model_type of families.keys()) {
  Deno.test(`${model_type}: any value of any key is read or refused`, () => {
    const norm_topk_prob = model_type === "qwen3_moe";
    const whole = { model_type, norm_topk_prob, ...sizes };
    assert(read(whole), "the config that is damaged");
    for (const key of keys) {
      for (const value of hostile) {
        const config = read({ ...whole, [key]: value });
        for (const [name, { value }] of config?.metadata ?? []) {
          assert(!Number.isNaN(value), `${key}: ${name}`);
        }
      }
    }
  });
}

Deno.test("windows, their patterns and thresholds that are no numbers are refused by name", () => {
  const refused = (json: JsonObject, key: string) =>
    assert.throws(
      () => readConfig({ ...sizes, ...json }, "config.json"),
      (error) => {
        assert(error instanceof FormatError, String(error));
        assert.match(
          error.message,
          RegExp(`^Cannot read config.json: ${key} `),
        );
        return true;
      },
    );
  for (const value of ["64", -1, [], true]) {
    for (const model_type of ["mistral", "gemma2", "olmo2"]) {
      refused({ model_type, sliding_window: value }, "sliding_window");
    }
    const pattern = "sliding_window_pattern";
    refused({ model_type: "gemma3", [pattern]: value }, pattern);
    refused({ model_type: "gemma3", [`_${pattern}`]: value }, `_${pattern}`);
    refused(
      { model_type: "llama", hidden_act: "fatrelu", hidden_act_param: value },
      "hidden_act_param",
    );
  }
  for (const model_type of families.keys()) {
    refused({ model_type, num_hidden_layers: 1e9 }, "num_hidden_layers");
    refused(
      { model_type, head_dim: 1e9, rope_scaling: scaling("llama3") },
      "head_dim",
    );
  }
  for (const types of ["x", ["sliding_attention"], [1, 2, 3, 4, 5, 6], {}]) {
    refused({ model_type: "gemma3", layer_types: types }, "layer_types");
  }
});
