/**
 * The model that `-m` names, or the embedded one.
 *
 * @module
 */
import {
  type ByteSource,
  type LanguageModel,
  load,
  type LoadOptions,
  type Sparsity,
} from "../mod.ts";
import {
  describeModel,
  isSparse,
  type Model,
  readGguf,
  toByteSource,
  tokenizerIfAny,
} from "../gguf.ts";
import { fingerprintOf } from "../lab.ts";
import { formatCount } from "./format.ts";
import { type GpuFlags, gpuOptions, type RunGpuFlags } from "./gpu_options.ts";
import { gpuText } from "./gpu_stats.ts";
import { mainType } from "./commands/inspect/inspection.ts";
import type { Interrupt } from "./interrupt.ts";
import { type FlagSpec, namesOf } from "./option.ts";
import { type LoadFlags, loadOptionsOf, type ModelFlags } from "./options.ts";
import { findGpuIndex, openGpuIndex, saveGpuIndex } from "./model_gpu_index.ts";
import { findPredictor, notePredictor } from "./model_predictor.ts";
import { findProfile, noteProfile } from "./model_profile.ts";
import { residentText } from "./residents.ts";
import { note, printable, ProgressBar } from "./terminal.ts";

/** What stops reading: Ctrl-C, say */
type Stop = Pick<Interrupt, "signal">;

/** Opens what `-m` names; the signal stops reading a URL. The caller closes it. */
export async function openModel(
  { model }: ModelFlags,
  signal?: AbortSignal,
): Promise<ByteSource> {
  if (model === undefined) {
    // Imported when it is needed, for it is as large as the model.
    const { tinyBamboo } = await import("@culm/tiny");
    return tinyBamboo();
  }
  return await toByteSource(model, { signal });
}

/**
 * Loads what the flags name, with the profile that they name or that lies
 * beside it, shows how far that has come, and says what runs.
 */
export async function loadModel(
  flags: LoadFlags & Partial<RunGpuFlags>,
  { signal }: Stop,
  measured: Pick<
    LoadOptions,
    "cacheSize" | "countNeurons" | "keepFfnInputs" | "measureRecall"
  > = {},
): Promise<LanguageModel> {
  const options = loadOptionsOf(flags);
  using index = await openGpuIndex(flags);
  const source = await openModel(flags, signal);
  try {
    // Described once, and only where something beside the file is to fit it.
    let described: Promise<Model> | undefined;
    const modelOf = () => described ??= describeSource(source, flags);
    const found = await findProfile(flags, modelOf);
    const predictor = await findPredictor(flags);
    const gpu = await gpuOptionsOf(flags, modelOf);
    using bar = new ProgressBar("loading", "bytes");
    // By its name, so that it stays open as long as the model needs it.
    const model = await load(flags.model ?? source, {
      ...options,
      ...gpu,
      profile: flags.profile === false ? false : found?.profile,
      predictor,
      ...measured,
      signal,
      onWarning: (message) => note(`warning: ${printable(message)}`),
      onProgress: ({ loaded, total }) => bar.update(loaded, total),
    });
    bar[Symbol.dispose]();
    note(`model: ${describe(model)}, from ${printable(source.name)}`);
    note(
      `backend: ${model.backend}; context ${model.engine.contextSize}; sparsity ${
        sparsityText(flags.sparsity, model.model)
      }`,
    );
    const { residents } = model.engine;
    if (residents) note(`memory: ${residentText(residents, model.model)}`);
    if (model.engine.gpu) note(gpuText(model.engine.gpu));
    if (index) await saveGpuIndex(model, index);
    if (flags.sparsity.mode === "predictor") notePredictor(model, predictor);
    if (flags.profile !== false) {
      noteProfile(model, flags, found, measured.countNeurons);
    }
    return model;
  } finally {
    await source.close();
  }
}

/**
 * Throws where a model cannot be loaded, as far as its header says.
 *
 * @throws {FormatError} where the file is damaged
 * @throws {UnsupportedError} where it holds what culm cannot run
 */
export async function checkModel(
  flags: ModelFlags & Pick<LoadFlags, "activation">,
  signal?: AbortSignal,
): Promise<void> {
  const source = await openModel(flags, signal);
  try {
    const file = await readGguf(source);
    describeModel(file, flags);
    tokenizerIfAny(file);
  } finally {
    await source.close();
  }
}

/** By what unfinished work knows its model. */
export async function modelFingerprint(
  flags: ModelFlags & Pick<LoadFlags, "activation">,
  signal?: AbortSignal,
): Promise<string> {
  const source = await openModel(flags, signal);
  try {
    return await fingerprintOf(await describeSource(source, flags), source);
  } finally {
    await source.close();
  }
}

async function describeSource(
  source: ByteSource,
  flags: Pick<LoadFlags, "activation">,
): Promise<Model> {
  return describeModel(await readGguf(source), flags);
}

/** What the flags ask of the GPU: nothing, where the command has none. */
async function gpuOptionsOf(
  flags: LoadFlags & Partial<RunGpuFlags>,
  modelOf: () => Promise<Model>,
): Promise<LoadOptions> {
  const { gpu = "off", vramBudget, gpuLayers } = flags;
  if (gpu === "off") {
    noteIdleGpuFlags(flags);
    return { gpu };
  }
  const gpuIndex = await findGpuIndex(flags, modelOf);
  if (gpuIndex) note(`gpu index: from ${printable(gpuIndex.path)}`);
  return { gpu, vramBudget, gpuLayers, gpuIndex };
}

/** Notes what a run was told of a GPU that takes no part. */
function noteIdleGpuFlags(flags: Partial<RunGpuFlags>): void {
  for (const name of Object.keys(gpuOptions) as (keyof GpuFlags)[]) {
    const { flag, default: usual }: FlagSpec = gpuOptions[name];
    // No layer on the GPU is what --gpu off says too.
    if (!flags[name] || flags[name] === usual) continue;
    note(`note: ${namesOf(flag)[0]} changes nothing: --gpu is off`);
  }
}

/** The mode that a model runs in: one whose neurons are never zero has none to leave out. */
export function modeOf({ mode }: Sparsity, { activation }: Model): string {
  return mode === "exact" && !isSparse(activation) ? "dense" : mode;
}

function sparsityText(asked: Sparsity, model: Model): string {
  const mode = modeOf(asked, model);
  return mode === asked.mode
    ? mode
    : `${mode}: neurons of ${model.activation} are never zero`;
}

/** Architecture, parameters and main type of a model, as llama-bench writes them: `bamboo 8.05 M Q8_0`. */
export function describe(
  { model, file }: Pick<LanguageModel, "model" | "file">,
): string {
  return `${printable(model.architecture)} ${
    formatCount(model.parameterCount)
  } ${mainType(file)}`;
}
