/** Mixtures of experts whose tensors have several types, as files of Q4_K_M and of gpt-oss have. */
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import { comparePlaces } from "../helpers/compare_places.ts";
import { gpuTeams } from "../helpers/gpu_teams.ts";
import type { RandomModelOptions } from "../helpers/random_model.ts";
import { teams as cpuTeams } from "../helpers/teams.ts";

/** One of each kind of place. */
const kinds = /^cpu, (3 crooked places|2 threads)$|random split, 2 cpu/;
const teams = Object.fromEntries(
  Object.entries({ ...cpuTeams, ...gpuTeams })
    .filter(([name]) => kinds.test(name)),
);

/** The types of tensors by parts of their names, the first that fits. */
function typesOf(
  ...types: (readonly [RegExp, GgmlType])[]
): (name: string) => GgmlType | undefined {
  return (name) => types.find(([part]) => part.test(name))?.[1];
}

/** What llama.cpp's Q4_K_M has: in some layers down and the values have more bits, as has the head. */
const q4KM = typesOf(
  [/blk\.0\.(ffn_down|attn_v)|^output\.weight/, "Q6_K"],
  [/ffn_gate_inp/, "F32"],
);

const sizes = {
  hiddenSize: 256,
  feedForwardSize: 256,
  expertCount: 4,
  vocabSize: 320,
};

const files: Record<string, RandomModelOptions> = {
  "mixtral, Q4_K_M": { architecture: "llama", type: "Q4_K", typeOf: q4KM },
  "qwen3moe, Q4_K_M": { architecture: "qwen3moe", type: "Q4_K", typeOf: q4KM },
  "olmoe, Q4_K_M": {
    architecture: "olmoe",
    type: "Q4_K",
    typeOf: q4KM,
    kvHeadCount: 4,
  },
  // Of rows that its blocks do not divide, down has others.
  "qwen3moe, Q4_K_M of short rows": {
    architecture: "qwen3moe",
    type: "Q4_K",
    feedForwardSize: 96,
    typeOf: typesOf(
      [/blk\.0\.ffn_down/, "Q8_0"],
      [/blk\.\d\.ffn_down/, "Q5_0"],
      [/blk\.0\.attn_v|^output\.weight/, "Q6_K"],
      [/ffn_gate_inp/, "F32"],
    ),
  },
  // As some make them by how much each tensor matters.
  "smallthinker, gate and up of several types": {
    architecture: "smallthinker",
    type: "Q4_0",
    typeOf: typesOf(
      [/blk\.0\.ffn_gate_exps/, "Q8_0"],
      [/blk\.1\.ffn_up_exps/, "Q6_K"],
      [/ffn_down_exps/, "Q5_K"],
      [/ffn_gate_inp/, "F16"],
    ),
  },
  "qwen2moe, several types by layer": {
    architecture: "qwen2moe",
    type: "Q4_K",
    sharedExperts: 2,
    typeOf: typesOf(
      [/blk\.0\.ffn_down|attn_v/, "Q6_K"],
      [/ffn_gate_inp/, "F32"],
    ),
  },
  "gpt-oss, MXFP4 beside Q8_0": {
    architecture: "gpt-oss",
    type: "Q8_0",
    biases: true,
    typeOf: typesOf([/_exps\.weight/, "MXFP4"], [/ffn_gate_inp/, "F32"]),
  },
  "gpt-oss, MXFP4 beside F16": {
    architecture: "gpt-oss",
    type: "F16",
    biases: true,
    typeOf: typesOf([/_exps\.weight/, "MXFP4"], [/ffn_gate_inp/, "F32"]),
  },
};

for (const [name, options] of Object.entries(files)) {
  Deno.test(`places agree: ${name}`, async () => {
    const modes: Sparsity[] = [{ mode: "dense" }];
    if (options.architecture === "smallthinker") modes.push({ mode: "exact" });
    for (const mode of modes) {
      await comparePlaces(
        teams,
        { ...sizes, ...options, type: options.type },
        mode,
      );
    }
  });
}
