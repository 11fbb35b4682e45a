/**
 * The GPU index that lies beside a model: found, read, reported.
 *
 * @module
 */
import { CulmError, type LanguageModel } from "../mod.ts";
import {
  checkGpuIndex,
  type GpuIndex,
  listOf,
  type PlacePlan,
  readGpuIndex,
  writeGpuIndex,
} from "../plan.ts";
import { type Model, openFile } from "../gguf.ts";
import { besideModel, isReadable } from "./beside_model.ts";
import type { GpuFlags } from "./gpu_options.ts";
import { BadFlags } from "./option.ts";
import type { ModelFlags } from "./options.ts";
import { OutputFile } from "./output_file.ts";
import { note, printable } from "./terminal.ts";

/** A GPU index, and where it was read. */
export interface FoundGpuIndex extends GpuIndex {
  readonly path: string;
}

/** Where a model's index is written, as PowerInfer calls it; the embedded model and URLs have no such place. */
export function gpuIndexPathOf(flags: ModelFlags): string | undefined {
  return besideModel(flags, "generated.gpuidx");
}

/**
 * The index that the flags name, or else one beside the model. The latter is
 * left out, with a warning, where it cannot be used. `modelOf` describes the
 * model; without an index nobody asks it.
 *
 * @throws {BadFlags} where flags contradict one another
 * @throws {CulmError} where the one that is named cannot be read, or is another model's
 */
export async function findGpuIndex(
  flags: Partial<GpuFlags> & ModelFlags,
  modelOf: () => Model | Promise<Model>,
): Promise<FoundGpuIndex | undefined> {
  const { gpuIndex, resetGpuIndex, disableGpuIndex } = flags;
  if (resetGpuIndex && disableGpuIndex) {
    throw new BadFlags(
      "Cannot write an index and write none: give one of --reset-gpu-index and --disable-gpu-index",
    );
  }
  if (gpuIndex !== undefined) {
    if (resetGpuIndex || disableGpuIndex) {
      throw new BadFlags(
        `Cannot read ${gpuIndex} and plan anew: give one of --gpu-index, --reset-gpu-index and --disable-gpu-index`,
      );
    }
    return await readIndexOf(await modelOf(), gpuIndex);
  }
  if (resetGpuIndex || disableGpuIndex) return undefined;
  for (const path of [gpuIndexPathOf(flags), besideModel(flags, "gpuidx")]) {
    if (path === undefined || !await isReadable(path)) continue;
    const model = await modelOf();
    try {
      return await readIndexOf(model, path);
    } catch (error) {
      if (!(error instanceof CulmError)) throw error;
      note(
        `warning: ${printable(error.message)}; going on without ${
          printable(path)
        }`,
      );
    }
  }
}

async function readIndexOf(model: Model, path: string): Promise<FoundGpuIndex> {
  const source = await openFile(path);
  try {
    const index = await readGpuIndex(source);
    checkGpuIndex(index, model);
    return { path, ...index };
  } finally {
    await source.close();
  }
}

/** The bytes of an index of what a plan has on the GPU. */
export function indexOf(
  model: Model,
  gpu: PlacePlan | undefined,
  capacity: number,
): Uint8Array<ArrayBuffer> {
  const none = { start: 0, end: 0 };
  return writeGpuIndex({
    capacity,
    feedForwardSize: model.feedForwardSize,
    layers: model.layers.map((_, i) => listOf(gpu?.parts[i].neurons ?? none)),
  });
}

/** Claims the file beside the model, where the flags request that it is written. */
export async function openGpuIndex(
  flags: Partial<GpuFlags> & ModelFlags,
): Promise<OutputFile | undefined> {
  const path = gpuIndexPathOf(flags);
  return flags.resetGpuIndex && path !== undefined
    ? await OutputFile.open(path, { force: true })
    : undefined;
}

/** Writes what a model has on the GPU. */
export async function saveGpuIndex(
  { model, engine }: LanguageModel,
  file: OutputFile,
): Promise<void> {
  if (!engine.gpu) return;
  await file.write([indexOf(model, engine.gpuPlan, engine.gpu.bytes)]);
  note(`wrote ${printable(file.path)}`);
}
