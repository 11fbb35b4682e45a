/**
 * The model that `-m` names, or the embedded one.
 *
 * @module
 */
import {
  type ByteSource,
  fingerprintOf,
  type LanguageModel,
  load,
  type LoadOptions,
  toByteSource,
} from "../mod.ts";
import { formatBytes, formatCount } from "./format.ts";
import { mainType } from "./inspection.ts";
import type { Interrupt } from "./interrupt.ts";
import { type LoadFlags, loadOptionsOf, type ModelFlags } from "./options.ts";
import { findPredictor, notePredictor } from "./model_predictor.ts";
import { findProfile, noteProfile } from "./model_profile.ts";
import { note, printable, ProgressBar } from "./terminal.ts";

/** Opens what `-m` names. The caller closes it. */
export async function openModel({ model }: ModelFlags): Promise<ByteSource> {
  if (model === undefined) {
    // Imported when it is needed, for it is as large as the model.
    const { tinyBamboo } = await import("../tiny/tiny.ts");
    return tinyBamboo();
  }
  return await toByteSource(model);
}

/**
 * Loads what the flags name, with the profile that they name or that lies
 * beside it, shows how far that has come, and says what runs.
 */
export async function loadModel(
  flags: LoadFlags,
  interrupt: Interrupt,
  measured: Pick<
    LoadOptions,
    "countNeurons" | "keepNormed" | "measureRecall"
  > = {},
): Promise<LanguageModel> {
  const options = loadOptionsOf(flags);
  const source = await openModel(flags);
  try {
    const found = await findProfile(flags, source);
    const predictor = await findPredictor(flags);
    using bar = new ProgressBar("loading");
    const model = await load(source, {
      ...options,
      profile: flags.profile === false ? false : found?.profile,
      predictor,
      ...measured,
      signal: interrupt.signal,
      onProgress: ({ loaded, total }) =>
        bar.update(
          loaded,
          total,
          `${formatBytes(loaded)} of ${formatBytes(total)}`,
        ),
    });
    bar[Symbol.dispose]();
    note(`model: ${describe(model)}, from ${printable(source.name)}`);
    note(
      `backend: ${model.backend}; context ${model.engine.contextSize}; sparsity ${flags.sparsity.mode}`,
    );
    if (flags.sparsity.mode === "predictor") notePredictor(model, predictor);
    if (flags.profile !== false) {
      noteProfile(model, flags, found, measured.countNeurons);
    }
    return model;
  } finally {
    await source.close();
  }
}

/** By what unfinished work knows its model. */
export async function modelFingerprint(
  flags: ModelFlags,
  { model }: LanguageModel,
): Promise<string> {
  const source = await openModel(flags);
  try {
    return await fingerprintOf(model, source);
  } finally {
    await source.close();
  }
}

/** Architecture, parameters and main type of a model, as llama-bench writes them: `bamboo 8.05 M Q8_0`. */
export function describe(
  { model, file }: Pick<LanguageModel, "model" | "file">,
): string {
  return `${printable(model.architecture)} ${
    formatCount(model.parameterCount)
  } ${mainType(file)}`;
}
