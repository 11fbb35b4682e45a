/**
 * The kernels' text, and what each of them is bound to.
 *
 * @module
 */
import add_partials from "../../../../shaders/add_partials.wgsl" with {
  type: "text",
};
import attended from "../../../../shaders/attended.wgsl" with { type: "text" };
import attention from "../../../../shaders/attention.wgsl" with {
  type: "text",
};
import attention_merge from "../../../../shaders/attention_merge.wgsl" with {
  type: "text",
};
import dot_rows from "../../../../shaders/dot_rows.wgsl" with { type: "text" };
import down from "../../../../shaders/down.wgsl" with { type: "text" };
import down_rows from "../../../../shaders/down_rows.wgsl" with {
  type: "text",
};
import down_rows_vec from "../../../../shaders/down_rows_vec.wgsl" with {
  type: "text",
};
import embed from "../../../../shaders/embed.wgsl" with { type: "text" };
import heads from "../../../../shaders/heads.wgsl" with { type: "text" };
import keep_above from "../../../../shaders/keep_above.wgsl" with {
  type: "text",
};
import kv_f16 from "../../../../shaders/kv_f16.wgsl" with { type: "text" };
import kv_f32 from "../../../../shaders/kv_f32.wgsl" with { type: "text" };
import kv_quads from "../../../../shaders/kv_quads.wgsl" with { type: "text" };
import kv_q8_0 from "../../../../shaders/kv_q8_0.wgsl" with { type: "text" };
import lanes_subgroup from "../../../../shaders/lanes_subgroup.wgsl" with {
  type: "text",
};
import lanes_workgroup from "../../../../shaders/lanes_workgroup.wgsl" with {
  type: "text",
};
import mul_mat from "../../../../shaders/mul_mat.wgsl" with { type: "text" };
import mul_mat_vec from "../../../../shaders/mul_mat_vec.wgsl" with {
  type: "text",
};
import product from "../../../../shaders/product.wgsl" with { type: "text" };
import rope_store from "../../../../shaders/rope_store.wgsl" with {
  type: "text",
};
import step from "../../../../shaders/step.wgsl" with { type: "text" };
import top_logits from "../../../../shaders/top_logits.wgsl" with {
  type: "text",
};
import weights_f16 from "../../../../shaders/weights_f16.wgsl" with {
  type: "text",
};
import weights_f32 from "../../../../shaders/weights_f32.wgsl" with {
  type: "text",
};
import weights_q4_0 from "../../../../shaders/weights_q4_0.wgsl" with {
  type: "text",
};
import weights_q4_k from "../../../../shaders/weights_q4_k.wgsl" with {
  type: "text",
};
import weights_q6_k from "../../../../shaders/weights_q6_k.wgsl" with {
  type: "text",
};
import weights_q8_0 from "../../../../shaders/weights_q8_0.wgsl" with {
  type: "text",
};
import type { CacheType } from "../../cache_type.ts";
import type { PackedType } from "../memory/packing.ts";
import { rowsByType } from "./rows_by_type.ts";

/** How a kernel reads its weights, by the type that they are stored in. */
const weights: Readonly<Record<PackedType, string>> = {
  F32: weights_f32,
  F16: weights_f16,
  Q8_0: weights_q8_0,
  Q4_0: weights_q4_0,
  Q4_K: weights_q4_k,
  Q6_K: weights_q6_k,
};

/** How a kernel reads and writes the pages of keys and values. */
const pages: Readonly<Record<CacheType, string>> = {
  f32: kv_f32 + kv_quads,
  f16: kv_f16 + kv_quads,
  q8_0: kv_q8_0,
};

/** A kernel, and the type of the weights or pages that it reads. */
export type KernelName =
  | {
    readonly kernel: "mul_mat_vec" | "mul_mat";
    /** Of the first rows, and of those that follow */
    readonly types: readonly PackedType[];
  }
  | {
    readonly kernel: "embed" | "down_rows_vec" | "down_rows";
    readonly type: PackedType;
  }
  | { readonly kernel: "rope_store" | "attention"; readonly type: CacheType }
  | {
    readonly kernel:
      | "attention_merge"
      | "add_partials"
      | "keep_above"
      | "top_logits";
  };

/** The whole text of a kernel. */
export function shaderText(name: KernelName, subgroups: boolean): string {
  const lanes = subgroups ? lanes_subgroup : lanes_workgroup;
  const rows = (types: readonly PackedType[], by: string, text = "") =>
    rowsByType(by, types.map((type) => weights[type] + text));
  switch (name.kernel) {
    case "mul_mat_vec":
      return step + product + rows(name.types, "dot_rows", dot_rows) + lanes +
        mul_mat_vec;
    case "mul_mat":
      return step + product + rows(name.types, "quad_weights") + mul_mat;
    case "embed":
      return step + weights[name.type] + embed;
    case "down_rows_vec":
      return step + weights[name.type] + down + down_rows_vec;
    case "down_rows":
      return step + weights[name.type] + down + down_rows;
    case "rope_store":
      return step + heads + pages[name.type] + rope_store;
    case "attention":
      return step + heads + pages[name.type] + attended + attention;
    case "attention_merge":
      return step + heads + attended + attention_merge;
    case "add_partials":
      return step + add_partials;
    case "keep_above":
      return step + keep_above;
    case "top_logits":
      return step + top_logits;
  }
}

/** How a kernel sees a buffer. */
export type Access = "read-only-storage" | "storage" | "uniform";

const read = "read-only-storage", write = "storage", shape = "uniform";

/** The buffers of a kernel by number: the same for one token and for several. */
export const kernelBindings: Readonly<
  Record<KernelName["kernel"], readonly Access[]>
> = {
  mul_mat_vec: [read, shape, read, read, read, read, write, write],
  mul_mat: [read, shape, read, read, read, read, write, write],
  embed: [read, shape, read, write],
  down_rows_vec: [read, shape, read, read, write],
  down_rows: [read, shape, read, read, write],
  rope_store: [read, shape, write, write],
  attention: [read, shape, write, read, write, write],
  attention_merge: [read, shape, write, read, write, write],
  add_partials: [read, shape, read, write],
  keep_above: [read, shape, read, write],
  top_logits: [read, shape, read, write, write],
};
