/**
 * Predictors as files beside a model: GGUF, with two tensors a layer, named and
 * shaped as PowerInfer's, `blk.N.fc1.weight` `[hiddenSize, rank]` and
 * `blk.N.fc2.weight` `[rank, feedForwardSize]`. A layer without them has no
 * predictor, and is computed exactly.
 */
import { sha256 } from "../bytes/sha256.ts";
import type { ByteSource } from "../bytes/byte_source.ts";
import { joined } from "../bytes/joined.ts";
import { FormatError, UsageError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { rowBytes } from "../formats/ggml/types.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import { getNumbers, getString, readGguf } from "../formats/gguf/read.ts";
import { type TensorToWrite, writeGguf } from "../formats/gguf/write.ts";
import type { LayerTensors, Model } from "./model.ts";
import { ggufName } from "./schema.ts";
import { rowOffset } from "./shard.ts";

const kind = "activation-predictor";
const keys = {
  model: "predictor.model",
  form: "predictor.form",
  thresholds: "predictor.thresholds",
  recall: "predictor.recall",
  tokens: "predictor.tokens",
};

/**
 * How scores are computed: `linear`, fc2 · fc1 · x of the normed residual x, or
 * `relu`, as PowerInfer's are, fc2 · relu(fc1 · x) of the residual itself.
 */
export type PredictorForm = "linear" | "relu";

/** A predictor to write. */
export interface PredictorToWrite {
  /** Of the model, by {@linkcode fingerprintOf} */
  readonly fingerprint: string;
  /** Default: `linear`. */
  readonly form?: PredictorForm;
  /** The least score that a layer selects, by layer */
  readonly thresholds: readonly number[];
  /** The share of firing neurons that it was made to select */
  readonly recall: number;
  /** Tokens of the text that it was made from */
  readonly tokens: number;
  /** `fc1` and `fc2` of each layer */
  readonly tensors: readonly TensorToWrite[];
}

/** A predictor's bytes. */
export function writePredictor(
  { fingerprint, form = "linear", thresholds, recall, tokens, tensors }:
    PredictorToWrite,
): AsyncGenerator<Uint8Array> {
  return writeGguf({
    metadata: [
      ["general.type", entry.text(kind)],
      [keys.model, entry.text(fingerprint)],
      [keys.form, entry.text(form)],
      [keys.thresholds, entry.reals(thresholds)],
      [keys.recall, entry.real(recall)],
      [keys.tokens, { type: "uint64", value: tokens }],
    ],
    tensors,
  });
}

/**
 * Gives a model the predictor of another file, in place of its own if it has
 * one, and where the bytes of both are. The two sources stay the caller's.
 *
 * @throws {FormatError} where the file is damaged or is no predictor
 * @throws {UsageError} where it was made for another model
 */
export async function withPredictor(
  model: Model,
  source: ByteSource,
  predictor: ByteSource,
): Promise<{ model: Model; source: ByteSource }> {
  const file = await readGguf(predictor);
  const refuse = (what: string): never => {
    throw new FormatError(`Cannot read predictor ${predictor.name}: ${what}`);
  };
  if (getString(file, "general.type") !== kind) {
    refuse(`general.type is not "${kind}"`);
  }
  const made = getString(file, keys.model);
  const own = await fingerprintOf(model, source);
  if (made !== own) {
    throw new UsageError(
      `Cannot use predictor ${predictor.name}: it was made for another model (${
        made && printable(made.slice(0, 12))
      }, this one is ${own.slice(0, 12)}); culm predictor makes one`,
    );
  }
  const thresholds = Array.from(getNumbers(file, keys.thresholds) ?? []);
  if (thresholds.length !== model.layers.length) {
    refuse(
      `${keys.thresholds} has ${thresholds.length} numbers, the model ${model.layers.length} layers`,
    );
  }
  // Files from before there were two forms have none.
  const form = getString(file, keys.form) ?? "linear";
  if (form !== "linear" && form !== "relu") {
    refuse(`${keys.form} is "${printable(form)}", known are linear and relu`);
  }
  const { hiddenSize, feedForwardSize } = model;
  const find = (own: "fc1" | "fc2", layer: number) => {
    const tensor = file.tensors.get(ggufName(own, layer));
    const offset = source.size + (tensor?.offset ?? 0);
    return tensor && Object.freeze({ ...tensor, offset });
  };
  const layers = model.layers.map((layer, i): LayerTensors => {
    const fc1 = find("fc1", i), fc2 = find("fc2", i);
    const down = `[${fc1?.shape.join(", ") ?? ""}]`;
    const up = `[${fc2?.shape.join(", ") ?? ""}]`;
    const rank = fc1?.shape[1];
    const fits = down === `[${hiddenSize}, ${rank}]` &&
      up === `[${rank}, ${feedForwardSize}]`;
    if ((fc1 || fc2) && !fits) {
      refuse(
        `layer ${i} has fc1 ${down} and fc2 ${up}, the model needs [${hiddenSize}, rank] and [rank, ${feedForwardSize}]`,
      );
    }
    return Object.freeze({ ...layer, fc1, fc2 });
  });
  return {
    model: Object.freeze({
      ...model,
      layers: Object.freeze(layers),
      sparseThresholds: Object.freeze(thresholds),
      linearPredictor: form === "linear",
    }),
    source: joined(source, predictor),
  };
}

/**
 * By what a predictor knows its model: SHA-256, in hexadecimal, of the feed-forward tensors' names, types and
 * shapes, and of a row from the middle of each: another model, another
 * quantisation, and another order of neurons each have another.
 */
export async function fingerprintOf(
  model: Model,
  source: ByteSource,
): Promise<string> {
  const tensors = model.layers.flatMap((layer) =>
    [layer.ffn_norm, layer.ffn_gate, layer.ffn_up]
      .filter((tensor) => tensor !== undefined)
  );
  const shapes = tensors.map(({ name, type, shape }) => [name, type, shape]);
  const rows = await Promise.all(
    tensors.map((tensor) => {
      const { type, shape } = tensor;
      const middle = Math.floor((shape[1] ?? 1) / 2);
      const length = rowBytes(type, shape[0]);
      return source.read(rowOffset(tensor, middle), length);
    }),
  );
  const { activation, gateThreshold } = model;
  const meant = gateThreshold > 0 ? [activation, gateThreshold] : activation;
  const described = JSON.stringify([meant, shapes]);
  const bytes = await new Blob([described, ...rows]).arrayBuffer();
  return await sha256(bytes);
}
