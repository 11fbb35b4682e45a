/**
 * The two forms of a model file: dense with `ffn_down`, and PowerInfer's with
 * `ffn_down_t`, in which each neuron's weights of down are a row.
 */
import { UsageError } from "../errors.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import { getString } from "../formats/gguf/metadata.ts";
import { isSparse } from "../model/activation.ts";
import { hyperParameterMetadata } from "../model/hyper_parameters.ts";
import type { Contents, Form } from "./contents.ts";
import { type Rows, stacked, unstacked } from "./rows.ts";
import { transposed } from "./transposed.ts";

const threshold = "powerinfer.sparse_threshold";

/**
 * The same model in another form. The dense form has no predictors.
 *
 * @throws {UsageError} where PowerInfer's form is requested of a model whose neurons are never zero
 */
export function toForm(contents: Contents, form: Form): Contents {
  const { activation } = contents;
  if (form === "powerinfer" && !(activation && isSparse(activation))) {
    throw new UsageError(
      `Cannot convert ${contents.name} to PowerInfer's form: neurons of ${
        activation ?? "its architecture"
      } are not known to be zero`,
    );
  }
  if (form === "powerinfer" && contents.form !== form) refuseShared(contents);
  const metadata = new Map(contents.metadata);
  if (form === "llama") metadata.delete(threshold);
  else if (!metadata.has(threshold)) metadata.set(threshold, entry.real(0));
  const architecture = getString({ metadata }, "general.architecture")!;
  const isStated = metadata.has(`${architecture}.hidden_activation`);
  if (activation === "reglu" && !isStated) {
    const stated = hyperParameterMetadata(architecture, { activation: "relu" });
    for (const [key, value] of stated) metadata.set(key, value);
  }
  const tensors = new Map<string, Rows>();
  for (const [name, rows] of contents.tensors) {
    if (form === "llama" && isPredictor(name)) continue;
    tensors.set(...turned(name, rows, form));
  }
  const magic = form === contents.form ? contents.magic : undefined;
  return { ...contents, form, magic, metadata, tensors };
}

/** A shared expert's down has rows of outputs alone, and so have the others beside it. */
function refuseShared({ name, tensors }: Contents): void {
  if (![...tensors.keys()].some((tensor) => tensor.includes("_shexp."))) return;
  throw new UsageError(
    `Cannot convert ${name} to PowerInfer's form: it has a shared expert`,
  );
}

/** Whether a tensor is a predictor's. */
export function isPredictor(name: string): boolean {
  return /\.fc[12](_exps)?\.weight$/.test(name);
}

function turned(name: string, rows: Rows, form: Form): [string, Rows] {
  const [, block, down, experts = ""] =
    name.match(/^(blk\.\d+\.)(ffn_down|ffn_down_t)(_exps)?\.weight$/) ?? [];
  const wanted = form === "llama" ? "ffn_down" : "ffn_down_t";
  if (!down || down === wanted) return [name, rows];
  return [
    `${block}${wanted}${experts}.weight`,
    experts
      ? stacked(unstacked(rows).map((each) => transposed(each)))
      : transposed(rows),
  ];
}
