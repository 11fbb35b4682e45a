import { UsageError } from "../../errors.ts";
import { bytesOfTensors, ggmlTypes } from "../../formats/ggml/types.ts";
import { entry, type MetadataEntry } from "../../formats/gguf/gguf_file.ts";
import { type GgufToWrite, writeGguf } from "../../formats/gguf/write.ts";
import { hyperParameterMetadata } from "../../model/hyper_parameters.ts";
import {
  architectureOf,
  checkShape,
  headSizeOf,
  type SynthOptions,
} from "./options.ts";
import { SynthTensors } from "./tensors.ts";
import { tokenizerMetadata } from "./vocabulary.ts";

/** A file that is made while it is read. */
export interface SynthFile {
  /** Bytes of all tensors; the header comes on top */
  readonly tensorBytes: number;
  /** The file, first byte to last; read it once */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * Makes a model file without a model: a stream of random weights whose neurons
 * fire as often as they should.
 *
 * @throws {UsageError} for sizes or shares that make no model
 * @throws {LimitError} for sizes that no model has
 *
 * @example
 * ```ts
 * import { synthesise, synthShapes } from "@culm/culm/lab";
 *
 * const file = synthesise({
 *   shape: synthShapes.tiny,
 *   type: "Q4_0",
 *   form: "powerinfer",
 *   activation: "drelu",
 *   gatePositive: 0.39,
 *   active: 0.15,
 *   seed: 1,
 * });
 * let size = 0;
 * for await (const chunk of file.chunks) size += chunk.length;
 * console.log(size > file.tensorBytes);
 * ```
 */
export function synthesise(options: SynthOptions): SynthFile {
  const file = synthGguf(options);
  return {
    tensorBytes: bytesOfTensors(file.tensors),
    chunks: writeGguf(file),
  };
}

/**
 * What such a file is made of.
 *
 * @throws as {@linkcode synthesise} does
 */
export function synthGguf(options: SynthOptions): GgufToWrite {
  const { shape, type, form, predictor } = options;
  checkShape(shape, ggmlTypes[type].blockSize);
  if (predictor && form !== "powerinfer") {
    throw new UsageError(
      `Cannot put a predictor into a file of form ${form}: only powerinfer has one`,
    );
  }
  return {
    magic: form === "powerinfer" ? "PWRI" : "GGUF",
    metadata: metadataOf(options),
    tensors: new SynthTensors(options).list(),
  };
}

function metadataOf(options: SynthOptions): [string, MetadataEntry][] {
  const { shape, form, activation, gatePositive, active, seed } = options;
  const isPowerInfer = form === "powerinfer";
  const architecture = architectureOf(options);
  const { text, real } = entry;
  const ropeSize = headSizeOf(shape);
  return [
    ["general.architecture", text(architecture)],
    ["general.name", text("synthetic")],
    [
      "general.description",
      text(
        `Random weights: ${activation}, gate positive ${gatePositive}, active ${active}, seed ${seed}`,
      ),
    ],
    ...hyperParameterMetadata(architecture, {
      ...shape,
      expertSize: shape.expertCount && shape.feedForwardSize,
      expertScoring: architecture === "smallthinker" ? 1 : undefined,
      valueSize: shape.headSize,
      ropeSize,
      rmsEpsilon: 1e-5,
      ropeBase: 10000,
    }),
    ...(isPowerInfer
      ? [["powerinfer.sparse_threshold", real(0)] as [string, MetadataEntry]]
      : []),
    ...tokenizerMetadata(shape.vocabSize),
  ];
}
